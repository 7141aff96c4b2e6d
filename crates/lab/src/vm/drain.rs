//! Output of a drain script: a number of seconds. For zero and above, the job may be stopped after that time. A
//! negative number means to run the script again after that time.

use std::time::Duration;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait; then the job is drained.
    Wait(Duration),
    /// Wait; then run the script again.
    AskAgain(Duration),
}

/// Parses the script's stdout.
pub(super) fn step(said: &str) -> Result<Step, String> {
    let seconds: i64 =
        said.trim().parse().map_err(|_| format!("it printed {:?} where a number of seconds belongs", excerpt(said)))?;
    let pause = Duration::from_secs(seconds.unsigned_abs());
    Ok(if seconds < 0 { Step::AskAgain(pause) } else { Step::Wait(pause) })
}

fn excerpt(said: &str) -> String {
    said.trim().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_wait_and_a_negative_one_a_question_again() {
        assert_eq!(step("0\n"), Ok(Step::Wait(Duration::ZERO)));
        assert_eq!(step(" 3 "), Ok(Step::Wait(Duration::from_secs(3))));
        assert_eq!(step("-2"), Ok(Step::AskAgain(Duration::from_secs(2))));
        assert_eq!(step(&i64::MIN.to_string()), Ok(Step::AskAgain(Duration::from_secs(1 << 63))));
    }

    #[test]
    fn anything_else_is_an_error_with_what_was_said() {
        for said in ["", "soon", "1.5", "0 0"] {
            assert!(step(said).unwrap_err().contains(&format!("{said:?}")), "{said}");
        }
    }
}
