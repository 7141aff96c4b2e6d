//! Difference of two texts, line by line. A director compares parsed content and redacts values; here texts are compared as they are.

use crate::wire::DiffLine;

/// Cells of the comparison table; larger changes are shown as everything removed and everything added.
const MAX_CELLS: usize = 4_000_000;

/// The lines that differ.
pub(super) fn lines(from: &str, to: &str) -> Vec<DiffLine> {
    let (mut from, mut to): (Vec<&str>, Vec<&str>) = (from.lines().collect(), to.lines().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    from.drain(..same);
    to.drain(..same);
    while !from.is_empty() && from.last() == to.last() {
        from.pop();
        to.pop();
    }
    if from.len() * to.len() > MAX_CELLS {
        return from.into_iter().map(removed).chain(to.into_iter().map(added)).collect();
    }
    walk(&from, &to)
}

/// Follows the longest common subsequence.
fn walk(from: &[&str], to: &[&str]) -> Vec<DiffLine> {
    let width = to.len() + 1;
    let mut common = vec![0_u32; (from.len() + 1) * width];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            common[i * width + j] = if from[i] == to[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < from.len() || j < to.len() {
        if i < from.len() && j < to.len() && from[i] == to[j] {
            lines.push((from[i].to_owned(), None));
            (i, j) = (i + 1, j + 1);
        } else if j == to.len() || (i < from.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            lines.push(removed(from[i]));
            i += 1;
        } else {
            lines.push(added(to[j]));
            j += 1;
        }
    }
    lines
}

fn removed(line: &str) -> DiffLine {
    (line.to_owned(), Some("removed".to_owned()))
}

fn added(line: &str) -> DiffLine {
    (line.to_owned(), Some("added".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(from: &str, to: &str) -> Vec<String> {
        let sign = |kind: Option<&str>| match kind {
            Some("added") => '+',
            Some(_) => '-',
            None => ' ',
        };
        lines(from, to).iter().map(|(line, kind)| format!("{}{line}", sign(kind.as_deref()))).collect()
    }

    #[test]
    fn only_the_part_that_differs_is_shown() {
        assert_eq!(shown("a\nb\nc\nd\ne", "a\nx\nc\ny\ne"), ["-b", "+x", " c", "-d", "+y"]);
        assert_eq!(shown("a\nb", "a\nb"), [""; 0]);
        assert_eq!(shown("", "a"), ["+a"]);
        assert_eq!(shown("a\na", "a"), ["-a"]);
    }

    #[test]
    fn a_huge_change_is_still_shown_at_once() {
        let (from, to) = ("a\n".repeat(3000), "b\n".repeat(3000));
        assert_eq!(shown(&from, &to).len(), 6000);
    }
}
