//! The whole mesh without root: in a user's own namespaces, with a single user.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    driver::named_by,
    manifests::{BANANA, small},
    privileges::is_root,
};

/// The user nobody.
const NOBODY: u32 = 65534;

#[test]
fn an_ordinary_user_has_the_mesh_too() {
    let lab = OrdinaryLab::new();
    let manifest = lab.home.path().join("small.yml");
    fs::write(&manifest, small()).unwrap();
    let told = lab.lab(["up", "--envoy", lab.envoy.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()]).stderr;
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("jobs run as the one user of this lab, not as vcap"), "{told}");

    let url = format!("http://{}:{}/get", BANANA.host, BANANA.port);
    let answer = lab.lab(["exec", "apricot/1", "--", "curl", "-sSf", &url]).stdout;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\"instance\":\"banana/"), "{answer}");

    let script = r#"eval "$("$0" lab env)" && exec "$1" --non-interactive vms"#;
    let bosh = named_by("BOSHY_BOSH", "the BOSH CLI, such as .cache/bosh-7.9.12/bosh");
    let bosh = lab.has(&bosh);
    let vms = lab.runs(Command::new("bash").args(["-c", script]).args([&lab.boshy, &bosh]));
    let vms = String::from_utf8(vms.stdout).unwrap();
    assert_eq!(vms.matches("running").count(), 5, "{vms}");
    lab.lab(["down"]);
    assert!(!lab.home.path().join("state").exists());
}

/// A lab and its programs in a directory of an ordinary user: the current one, or the user nobody when the current one
/// is root.
struct OrdinaryLab {
    home: TempDir,
    boshy: PathBuf,
    envoy: PathBuf,
}

impl OrdinaryLab {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut lab = Self { home, boshy: PathBuf::new(), envoy: PathBuf::new() };
        lab.boshy = lab.has(&named_by("BOSHY_BIN", "the boshy binary, such as target/debug/boshy"));
        lab.envoy = lab.has(&named_by("BOSHY_ENVOY", "Envoy's program, such as .cache/envoy-1.40.0/envoy"));
        if is_root() {
            chown(lab.home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        lab
    }

    /// A copy of a program that the user can read.
    fn has(&self, program: &Path) -> PathBuf {
        let copy = self.home.path().join(program.file_name().unwrap());
        fs::copy(program, &copy).unwrap();
        copy
    }

    fn lab<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.runs(Command::new(&self.boshy).arg("lab").args(arguments))
    }

    fn runs(&self, command: &mut Command) -> Output {
        let output = self.of_the_user(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        output
    }

    fn of_the_user<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let home = self.home.path();
        command.env("BOSHY_LAB_STATE_DIR", home.join("state")).env("HOME", home).current_dir(home);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for OrdinaryLab {
    fn drop(&mut self) {
        // A successful test has done it already, which is not an error.
        let _ = self.of_the_user(Command::new(&self.boshy).args(["lab", "down"])).output();
    }
}
