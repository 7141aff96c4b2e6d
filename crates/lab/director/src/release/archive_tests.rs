use std::fs;

use super::{
    super::testing::{self, Draft},
    *,
};

fn sample() -> Draft {
    Draft::new("istio", "0.1.0")
        .job("pilot", "packages: [boshy]\ntemplates: {c.erb: config/c.yml}", &[("c.erb", "a: <%= p('a') %>")])
        .package("boshy", "cp x", &["rust"])
        .package("rust", "true", &[])
}

fn refused(draft: &Draft) -> (u32, String) {
    let folder = tempfile::tempdir().unwrap();
    let error = unpack(&draft.tarball(), folder.path(), &Limits::default()).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn a_release_is_taken_apart_into_jobs_and_packages() {
    let folder = tempfile::tempdir().unwrap();
    let release = unpack(&sample().tarball(), folder.path(), &Limits::default()).unwrap();
    assert_eq!((release.name.as_str(), release.version.as_str()), ("istio", "0.1.0"));
    assert_eq!((release.commit_hash.as_str(), release.uncommitted_changes), ("4c36884a", false));
    let job = release.job("pilot").unwrap();
    assert_eq!(job.spec.templates, [("c.erb".to_owned(), "config/c.yml".to_owned())]);
    assert_eq!(job.templates["c.erb"], "a: <%= p('a') %>");
    let boshy = &release.packages[0];
    assert_eq!((boshy.name.as_str(), boshy.dependencies.as_slice()), ("boshy", &["rust".to_owned()][..]));
    let kept = fs::read(boshy.archive.as_ref().unwrap()).unwrap();
    assert_eq!(kept, testing::archive(&[("packaging", b"cp x")]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_package_may_be_left_out_because_the_director_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let draft = Draft { left_out: vec!["rust"], ..sample() };
    let release = unpack(&draft.tarball(), folder.path(), &Limits::default()).unwrap();
    assert_eq!(release.packages[1].archive, None);
}

#[test]
fn what_is_no_release_is_refused_as_a_director_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = |bytes: &[u8]| unpack(bytes, folder.path(), &Limits::default()).unwrap_err();
    let text = "Extracting release archive failed. Check task debug log for details.";
    assert_eq!((unpacked(b"no").code(), unpacked(b"no").to_string()), (30_002, text.to_owned()));
    let empty = testing::archive(&[("x", b"")]);
    assert_eq!(
        (unpacked(&empty).code(), unpacked(&empty).to_string()),
        (30_003, "Release manifest not found".to_owned())
    );
    let whole = sample().tarball();
    assert_eq!(unpacked(&whole[..whole.len() / 2]).code(), 30_002);
    let draft = Draft { version: "../1", ..sample() };
    assert_eq!(refused(&draft), (30_010, "Release version invalid: ../1".to_owned()));
    let compiled = testing::archive(&[("release.MF", b"{name: a, version: 1, compiled_packages: []}")]);
    assert_eq!(unpacked(&compiled).to_string(), "This director takes no compiled releases");
}

#[test]
fn jobs_and_packages_have_to_fit_together() {
    let draft = sample().job("other", "packages: [nope]", &[]);
    assert_eq!(refused(&draft), (80_003, "Job 'other' is referencing a missing package 'nope'".to_owned()));
    let draft = sample().job("other", "templates: {gone.erb: x}", &[]);
    assert_eq!(refused(&draft), (80_002, "Missing template file 'gone.erb' for job 'other'".to_owned()));
    let mut draft = sample().job("other", "", &[]);
    draft.jobs[1].1.retain(|(path, _)| path != "monit");
    assert_eq!(refused(&draft), (80_004, "Job 'other' is missing monit file".to_owned()));
    draft.jobs[1].1.retain(|(path, _)| path != "job.MF");
    assert_eq!(refused(&draft), (80_001, "Missing job manifest for 'other'".to_owned()));
    let circle = sample().package("a", "", &["b"]).package("b", "", &["a"]);
    assert_eq!(refused(&circle), (100, "Cycle: a=>b=>a".to_owned()));
}

#[test]
fn a_part_that_is_not_what_its_digest_says_is_refused_and_not_kept() {
    let job = testing::archive(&[("job.MF", b"name: j"), ("monit", b"")]);
    let package = testing::archive(&[("packaging", b"")]);
    let zeros = "0".repeat(40);
    for (kind, bytes) in [("jobs", job), ("packages", package)] {
        let manifest =
            format!("{{name: r, version: 1, {kind}: [{{name: j, version: v, fingerprint: f, sha1: '{zeros}'}}]}}");
        let tarball =
            testing::archive(&[("release.MF", manifest.as_bytes()), (&format!("{kind}/j.tgz"), bytes.as_slice())]);
        let folder = tempfile::tempdir().unwrap();
        let error = unpack(&tarball, folder.path(), &Limits::default()).unwrap_err();
        assert_eq!(error.code(), 30_015, "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn nothing_is_written_outside_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    for fingerprint in ["../../x", "a/b", "", "."] {
        let package = testing::archive(&[("packaging", b"")]);
        let digest = testing::sha1_hex(&package);
        let manifest = format!(
            "{{name: r, version: 1, packages: [{{name: p, version: v, fingerprint: '{fingerprint}', sha1: {digest}}}]}}"
        );
        let tarball = testing::archive(&[("release.MF", manifest.as_bytes()), ("packages/p.tgz", package.as_slice())]);
        assert_eq!(unpack(&tarball, &folder, &Limits::default()).unwrap_err().code(), 30_002, "{fingerprint}");
    }
    assert_eq!(inner_path(Path::new("./a/../../b")), None);
    assert_eq!(inner_path(Path::new("/etc/passwd")), None);
    assert_eq!(inner_path(Path::new("./a/./b")), Some(PathBuf::from("a/b")));
    let escape = Draft::new("r", "1").job("j", "templates: {a: ../../b}", &[("a", "")]);
    assert_eq!(refused(&escape).1, "Job 'j' has the invalid template path '../../b'");
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = testing::archive(&[("release.MF", b"{name: r, version: 1}"), ("x", &vec![0; 1 << 20])]);
    assert!(bomb.len() < 10_000);
    let limits = Limits { total: 1 << 19, ..Limits::default() };
    assert!(matches!(unpack(&bomb, folder.path(), &limits), Err(ReleaseError::TooLarge { .. })));
    let job = testing::archive(&[("job.MF", b"name: j"), ("x", &vec![0; 1 << 20])]);
    let limits = Limits { job: 1 << 19, ..Limits::default() };
    assert!(matches!(super::job("j", &job, &limits), Err(ReleaseError::TooLarge { .. })));
    // The part up to the limit would also be a manifest, with fewer parts.
    let manifest = b"name: r\nversion: 1\njobs:\n- {name: j, version: v, fingerprint: f, sha1: x}\n";
    let limits = Limits { manifest: 25, ..Limits::default() };
    let error = unpack(&testing::archive(&[("release.MF", manifest)]), folder.path(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "release.MF is larger than 25 bytes");
    let many: Vec<_> = (0..20).map(|_| ("x", &b""[..])).collect();
    let limits = Limits { entries: 10, ..Limits::default() };
    assert!(unpack(&testing::archive(&many), folder.path(), &limits).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_bring_it_down(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600), cut in 0_usize..4000) {
        let folder = tempfile::tempdir().unwrap();
        let _ = unpack(&bytes, folder.path(), &Limits::default());
        let mut tarball = sample().tarball();
        let at = cut % tarball.len();
        for (offset, byte) in bytes.iter().take(4).enumerate() {
            if let Some(target) = tarball.get_mut(at + offset) {
                *target ^= byte;
            }
        }
        let _ = unpack(&tarball, folder.path(), &Limits::default());
    }
}
