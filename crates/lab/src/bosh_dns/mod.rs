//! x
pub(crate) fn run() -> Result<(), crate::LabError> { std::thread::sleep(std::time::Duration::from_secs(100000)); Ok(()) }
