//! Tests a single VM from the keeper's side of its socket: real namespaces, real processes, and the kernel's view of
//! them.
//!
//! The processes of a VM run the program that starts it, which here is this test. So called with a command of the lab,
//! it runs that command, otherwise the tests.
//!
//! The tests need a kernel that lets this user create namespaces; on any other they fail with a message.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program, which clippy takes for a program only")]
#![expect(clippy::needless_pass_by_value, reason = "orders are written where they are given")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod bosh_dns;
mod driver;
mod packages;
mod processes;
mod scripts;

use std::{fs, process::ExitCode};

use boshy_lab::{LabCommand, LabSettings};
use clap::Parser;
use libtest_mimic::{Arguments, Trial};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

#[derive(Parser)]
enum Program {
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_none_or(|first| first != "lab") {
        return test();
    }
    let Program::Lab(command) = Program::parse();
    let boshy = std::env::current_exe().unwrap();
    boshy_lab::run(&command, LabSettings { boshy }).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        ExitCode::from(error.exit_status())
    })
}

/// Runs functions of modules as tests, under their own names.
macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        fn test() -> ExitCode {
            enter_user_namespace();
            let tests = vec![$($(Trial::test(stringify!($name), || { $module::$name(); Ok(()) })),*),*];
            libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
        }
    };
}

tests! {
    processes:
        a_process_has_the_user_and_exactly_the_capabilities_it_declares
        a_process_sees_its_own_and_what_it_asks_for;
    scripts:
        start_and_stop_run_every_script_in_its_place
        what_fails_is_told_with_the_job_and_its_stderr
        a_reboot_starts_only_what_monit_would;
    bosh_dns:
        bosh_dns_answers_from_the_records_it_is_given;
    packages:
        a_package_is_compiled_without_network_into_its_folder;
}

/// Becomes root of a user namespace with one user, unless this process may create namespaces already.
fn enter_user_namespace() {
    let (user, group) = (geteuid(), nix::unistd::getegid());
    if user.is_root() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWUSER).unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).unwrap();
}
