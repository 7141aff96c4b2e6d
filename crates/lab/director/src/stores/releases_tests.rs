use super::*;
use crate::release::testing::Draft;

fn store() -> (ReleaseStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (ReleaseStore::new(folder.path().to_owned()), folder)
}

fn upload(store: &mut ReleaseStore, draft: &Draft, how: Upload) -> Result<Admitted, DirectorError> {
    let incoming = store.incoming();
    let release = read_upload(&draft.tarball(), &incoming)?;
    store.admit(release, how)
}

fn draft(version: &'static str) -> Draft {
    let manifest = "packages: [boshy]\nconsumes: [{name: pilot, type: pilot, optional: true}]\n\
                    provides: [{name: web, type: http, properties: [port]}, {name: x, type: t}]";
    Draft::new("istio", version).job("agent", manifest, &[]).package("boshy", "cp x", &[])
}

#[test]
fn an_upload_tells_what_it_did_and_again_that_all_is_there() {
    let (mut store, _folder) = store();
    let done = upload(&mut store, &draft("0.1.0"), Upload::default()).unwrap();
    assert_eq!(done.result, "Created release 'istio/0.1.0'");
    let titles = |done: &Admitted| done.stages.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>();
    let common = ["Extracting release", "Verifying manifest", "Resolving package dependencies"];
    let first = [&common[..], &["Creating new packages", "Creating new jobs", "Release has been created"]].concat();
    assert_eq!(titles(&done), first);
    assert!(done.stages[3].1[0].starts_with("boshy/v"));
    let again = upload(&mut store, &draft("0.1.0"), Upload::default()).unwrap();
    let second =
        [&common[..], &["Processing 1 existing package", "Processing 1 existing job", "Release has been created"]]
            .concat();
    assert_eq!(titles(&again), second);
    assert_eq!(store.versions("istio").unwrap().len(), 1);
}

#[test]
fn the_same_version_with_other_content_is_refused() {
    let (mut store, _folder) = store();
    upload(&mut store, &draft("0.1.0"), Upload::default()).unwrap();
    let refused = |store: &mut ReleaseStore, draft: &Draft| {
        let error = upload(store, draft, Upload::default()).unwrap_err();
        (error.code, error.description)
    };
    let mut other = draft("0.1.0");
    other.packages[0].1 = "cp y";
    let text = "package 'boshy' had different fingerprint in previously uploaded release 'istio/0.1.0'";
    assert_eq!(refused(&mut store, &other), (30_012, text.to_owned()));
    let mut other = draft("0.1.0");
    other.jobs[0].1[1].1 = "another monit".to_owned();
    let text = "job 'agent' had different fingerprint in previously uploaded release 'istio/0.1.0'";
    assert_eq!(refused(&mut store, &other), (30_013, text.to_owned()));
    let other = Draft { commit_hash: "ffff", ..draft("0.1.0") };
    assert_eq!(refused(&mut store, &other).0, 30_014);
}

#[test]
fn a_rebased_upload_gets_the_next_version() {
    let (mut store, _folder) = store();
    let rebase = Upload { rebase: true, fix: false };
    for number in 1..=3 {
        let done = upload(&mut store, &draft("0+dev.1"), rebase).unwrap();
        assert_eq!(done.result, format!("Created release 'istio/0+dev.{number}'"));
    }
    assert_eq!(store.find("istio", "latest").unwrap().version, "0+dev.3");
}

#[test]
fn packages_that_are_known_need_not_be_sent_again() {
    let (mut store, _folder) = store();
    let manifest = "{packages: [{name: boshy, fingerprint: fX}, {name: new, fingerprint: nope}]}";
    assert!(store.matches(manifest).unwrap().is_empty());
    let lean = Draft { left_out: vec!["boshy"], ..draft("0.2.0") };
    assert_eq!(upload(&mut store, &lean, Upload::default()).unwrap_err().code, 60_000);
    upload(&mut store, &draft("0.1.0"), Upload::default()).unwrap();
    let known = store.find("istio", "0.1.0").unwrap().release.unwrap().packages[0].fingerprint.clone();
    assert_eq!(store.matches(&manifest.replace("fX", &known)).unwrap(), [known]);
    upload(&mut store, &lean, Upload::default()).unwrap();
    let archive = store.find("istio", "0.2.0").unwrap().release.unwrap().packages[0].archive.clone();
    assert!(archive.unwrap().exists());
}

#[test]
fn releases_are_listed_and_inspected_in_the_shape_of_a_real_director() {
    let (mut store, _folder) = store();
    upload(&mut store, &draft("0.10.0"), Upload::default()).unwrap();
    upload(&mut store, &draft("0.9.0"), Upload::default()).unwrap();
    let rows = serde_json::to_value(store.rows(&|_, version| version == "0.9.0")).unwrap();
    let version = |version: &str, used: bool| {
        json!({"version": version, "commit_hash": "4c36884a", "uncommitted_changes": false,
               "currently_deployed": used, "job_names": ["agent"]})
    };
    let versions = [version("0.9.0", true), version("0.10.0", false)];
    assert_eq!(rows, json!([{"name": "istio", "release_versions": versions}]));
    let seen = store.inspect("istio", Some("0.9.0")).unwrap();
    assert_eq!(seen["jobs"][0]["consumes"], json!([{"name": "pilot", "type": "pilot", "optional": true}]));
    let provides = json!([{"name": "web", "type": "http", "properties": ["port"]}, {"name": "x", "type": "t"}]);
    assert_eq!(seen["jobs"][0]["provides"], provides);
    assert!(!seen["packages"][0]["blobstore_id"].as_str().unwrap().is_empty());
    let missing = |name, version| store.inspect(name, version).unwrap_err();
    assert_eq!(missing("no", None), DirectorError::new(404, 30_005, "Release 'no' doesn't exist"));
    assert_eq!(missing("istio", Some("7")), DirectorError::new(404, 30_006, "Release version 'istio/7' doesn't exist"));
}

#[test]
fn a_release_in_use_stays_and_one_that_goes_takes_its_archives_along() {
    let (mut store, folder) = store();
    upload(&mut store, &draft("0.1.0"), Upload::default()).unwrap();
    let users = |_: &str, _: &str| vec!["shop".to_owned()];
    let error = store.delete("istio", None, &users).unwrap_err();
    assert_eq!((error.code, error.description.as_str()), (30_007, "Release 'istio' is still in use by: shop"));
    let error = store.delete("istio", Some("0.1.0"), &users).unwrap_err();
    assert_eq!(
        (error.code, error.description.as_str()),
        (30_008, "ReleaseVersion 'istio/0.1.0' is still in use by: shop")
    );
    assert_eq!(store.delete("istio", Some("7"), &users).unwrap_err().code, 30_006);
    store.delete("istio", Some("0.1.0"), &|_, _| Vec::new()).unwrap();
    assert_eq!(store.find("istio", "0.1.0").unwrap_err().code, 30_005);
    let left = fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert_eq!(left, 0);
}

#[test]
fn of_urls_only_releases_whose_part_is_played_are_taken() {
    let (mut store, _folder) = store();
    let done = store.admit_location("https://bosh.io/d/github.com/cloudfoundry/bosh-dns-release?v=1.39.0").unwrap();
    assert_eq!(done.result, "Created release 'bosh-dns/1.39.0': its part is played by the lab");
    store.admit_location("https://s3.amazonaws.com/x/bpm-1.4.2.tgz").unwrap();
    assert!(store.find("bpm", "1.4.2").unwrap().release.is_none());
    assert_eq!(store.rows(&|_, _| false)[1].release_versions[0].version, "1.4.2");
    for url in ["https://bosh.io/d/github.com/x/other-release?v=1", "https://bosh.io/bpm-release", "nonsense"] {
        let error = store.admit_location(url).unwrap_err();
        assert!(error.description.contains("this director has no internet"), "{error}");
    }
}
