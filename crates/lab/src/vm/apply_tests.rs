use super::*;
use tempfile::TempDir;

fn job(name: &str, files: &[(&str, &str)], monit: &str) -> RenderedJob {
    let files = files.iter().map(|(path, content)| RenderedFile { path: (*path).into(), content: (*content).into() });
    RenderedJob { name: name.to_owned(), release: "test".to_owned(), files: files.collect(), monit: monit.to_owned() }
}

fn web(setting: &str) -> RenderedJob {
    let monit = "check process web with pidfile /var/vcap/sys/run/bpm/web/web.pid\n\
                 start program \"/var/vcap/jobs/bpm/bin/bpm start web\"";
    let bpm = "processes: [{name: web, executable: /bin/true, limits: {memory: 1G}}]";
    job("web", &[("config/bpm.yml", bpm), ("bin/pre-start", "#!/bin/sh"), ("config/setting", setting)], monit)
}

fn spec(jobs: Vec<RenderedJob>) -> ApplySpec {
    let tools = PackageRef {
        name: "tools".to_owned(),
        fingerprint: "f1".to_owned(),
        archive: "none".into(),
        dependencies: Vec::new(),
    };
    ApplySpec { jobs, packages: vec![tools] }
}

/// A `/var/vcap` with a compiled package.
fn vcap() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["jobs", "packages", "monit/job", "data/packages/tools/f1", "sys/run"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    root
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn jobs_take_the_place_of_those_before() {
    let root = vcap();
    apply(root.path(), &spec(vec![web("1"), job("old", &[("file", "x")], "")]), Vcap::Shared).unwrap();
    let jobs = root.path().join("jobs");
    assert_eq!((mode(jobs.join("web/bin/pre-start")), mode(jobs.join("web/config/setting"))), (0o750, 0o640));
    let link = fs::read_link(root.path().join("packages/tools")).unwrap();
    assert_eq!(link, Path::new("/var/vcap/data/packages/tools/f1"));

    let notes = apply(root.path(), &spec(vec![web("2")]), Vcap::Shared).unwrap();
    assert_eq!(notes, ["web: the limit of memory is not enforced"]);
    assert_eq!(fs::read_to_string(jobs.join("web/config/setting")).unwrap(), "2");
    assert!(!jobs.join("old").exists());
    let beside: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 5, "{beside:?}");
}

#[test]
fn what_is_on_disk_is_what_was_applied() {
    let root = vcap();
    let spec = spec(vec![job(processes::BOSH_DNS_JOB, &[], ""), web("1"), job("library", &[], "")]);
    apply(root.path(), &spec, Vcap::Shared).unwrap();
    let watched = processes::on_disk(root.path()).unwrap();
    assert_eq!(watched, processes::of_spec(&spec).unwrap());
    assert_eq!(watched.iter().map(|process| process.name.as_str()).collect::<Vec<_>>(), ["bosh-dns", "web"]);
}

#[test]
fn a_refused_job_changes_nothing() {
    let root = vcap();
    apply(root.path(), &spec(vec![web("1")]), Vcap::Shared).unwrap();
    let broken = |path: &str, content: &str| {
        let mut job = web("2");
        job.files.retain(|file| file.path != path);
        job.files.push(RenderedFile { path: path.to_owned(), content: content.to_owned() });
        vec![job]
    };
    let renamed = |from: &str, to: &str| {
        let mut job = web("2");
        job.monit = job.monit.replace(from, to);
        vec![job]
    };
    let wrong = [
        (spec(broken("config/bpm.yml", "processes: [{name: web}]")), "job web: config/bpm.yml, process web has no"),
        (spec(broken("config/bpm.yml", "processes: []")), "has no process web"),
        (spec(renamed("check", "watch")), "job web: its monit file, line 1"),
        (spec(vec![job("web", &[], &web("").monit)]), "no config/bpm.yml"),
        (spec(vec![web("2"), web("2")]), "monit has another process web already"),
        (spec(vec![job("../web", &[], "")]), "no name"),
        (spec(broken("../x", "")), "no path"),
    ];
    for (spec, reason) in wrong {
        let error = apply(root.path(), &spec, Vcap::Shared).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let mut uncompiled = spec(vec![web("2")]);
    uncompiled.packages[0].fingerprint = "f2".to_owned();
    let error = apply(root.path(), &uncompiled, Vcap::Shared).unwrap_err().to_string();
    assert_eq!(error, "the package tools is not compiled");
    assert_eq!(fs::read_to_string(root.path().join("jobs/web/config/setting")).unwrap(), "1");
}
