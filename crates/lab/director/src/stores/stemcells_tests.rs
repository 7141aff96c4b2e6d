use super::*;
use crate::release::testing;

fn stemcell(location: &str) -> Stemcell {
    Stemcell::from_location(location).unwrap()
}

#[test]
fn a_stemcell_is_known_by_its_url() {
    let by_query = stemcell("https://bosh.io/d/stemcells/bosh-warden-boshlite-ubuntu-jammy-go_agent?v=1.486");
    assert_eq!((by_query.os.as_str(), by_query.version.as_str()), ("ubuntu-jammy", "1.486"));
    let by_file = "https://storage.googleapis.com/x/bosh-stemcell-1.486-warden-boshlite-ubuntu-jammy-go_agent.tgz";
    assert_eq!(stemcell(by_file), by_query);
    for url in ["https://bosh.io/d/stemcells", "x", "https://bosh.io/x.tgz"] {
        assert_eq!(Stemcell::from_location(url).unwrap_err().code, 50_000, "{url}");
    }
}

#[test]
fn a_stemcell_is_known_by_its_manifest() {
    let manifest =
        b"name: bosh-warden-boshlite-ubuntu-noble-go_agent\nversion: '1.0'\noperating_system: ubuntu-noble\n";
    let archive = testing::archive(&[("image", b"..."), ("stemcell.MF", manifest)]);
    let read = Stemcell::from_archive(&archive).unwrap();
    assert_eq!((read.os.as_str(), read.version.as_str()), ("ubuntu-noble", "1.0"));
    assert_eq!(Stemcell::from_archive(b"no").unwrap_err().code, 50_000);
    let other = testing::archive(&[("x", b"")]);
    assert!(Stemcell::from_archive(&other).unwrap_err().description.ends_with("it has no stemcell.MF"));
}

#[test]
fn stemcells_are_found_by_system_or_name_and_listed_as_a_real_director_does() {
    let mut store = StemcellStore::default();
    for version in ["1.9", "1.484", "1.484"] {
        store.add(stemcell(&format!("https://x/bosh-warden-boshlite-ubuntu-noble-go_agent?v={version}")));
    }
    assert_eq!(store.find(Some("ubuntu-noble"), None, "latest").unwrap().version, "1.484");
    let name = "bosh-warden-boshlite-ubuntu-noble-go_agent";
    assert_eq!(store.find(None, Some(name), "1.9").unwrap().os, "ubuntu-noble");
    let error = store.find(Some("ubuntu-jammy"), None, "1.9").unwrap_err();
    assert_eq!(error, DirectorError::new(404, 50_003, "Stemcell version '1.9' for OS 'ubuntu-jammy' doesn't exist"));
    let error = store.find(None, Some("x"), "1").unwrap_err();
    assert_eq!(error.description, "Stemcell 'x/1' doesn't exist");
    let rows = store.rows(&|_, version| if version == "1.484" { vec!["mesh".to_owned()] } else { Vec::new() });
    let row = json!({"name": name, "operating_system": "ubuntu-noble", "version": "1.484", "cid": "stemcell-2", "cpi": "",
                     "deployments": [{"name": "mesh"}], "api_version": 3, "id": 2});
    assert_eq!((rows.as_array().unwrap().len(), &rows[1]), (2, &row));
    assert_eq!(store.delete(name, "1.9", &["x".to_owned()]).unwrap_err().code, 50_004);
    store.delete(name, "1.9", &[]).unwrap();
    assert_eq!(store.delete(name, "1.9", &[]).unwrap_err().code, 50_003);
}
