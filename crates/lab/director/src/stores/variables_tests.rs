use std::sync::Arc;

use rustls::{
    RootCertStore,
    client::danger::ServerCertVerifier,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::*;

fn spec(name: &str, kind: &str, options: Value) -> VariableSpec {
    VariableSpec { name: name.to_owned(), kind: kind.to_owned(), options }
}

fn mesh() -> Variables {
    let mut variables = Variables::new("lab");
    variables
        .generate("mesh", &spec("/boshy/ca", "certificate", json!({"is_ca": true, "common_name": "boshy-mesh"})))
        .unwrap();
    let pilot = json!({"ca": "/boshy/ca", "common_name": "pilot", "extended_key_usage": ["server_auth"],
                       "alternative_names": ["10.244.3.125", "pilot.boshy.internal"]});
    variables.generate("mesh", &spec("/boshy/pilot", "certificate", pilot)).unwrap();
    let agent = json!({"ca": "/boshy/ca", "common_name": "agent", "extended_key_usage": ["client_auth"]});
    variables.generate("mesh", &spec("agent", "certificate", agent)).unwrap();
    variables
}

fn der(variables: &mut Variables, placeholder: &str) -> CertificateDer<'static> {
    let pem = variables.value("mesh", placeholder).unwrap();
    CertificateDer::from_pem_slice(pem.as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn certificates_are_what_their_options_say() {
    let mut variables = mesh();
    let mut roots = RootCertStore::empty();
    roots.add(der(&mut variables, "/boshy/pilot.ca")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots);
    let servers =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let verify = |certificate: &CertificateDer<'_>, name: &str| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        servers.verify_server_cert(certificate, &[], &name, &[], UnixTime::now())
    };
    let pilot = der(&mut variables, "/boshy/pilot.certificate");
    let agent = der(&mut variables, "agent.certificate");
    verify(&pilot, "pilot.boshy.internal").unwrap();
    verify(&pilot, "10.244.3.125").unwrap();
    verify(&pilot, "other.internal").unwrap_err();
    verify(&agent, "agent").unwrap_err();
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
    clients.verify_client_cert(&agent, &[], UnixTime::now()).unwrap();
    clients.verify_client_cert(&pilot, &[], UnixTime::now()).unwrap_err();
}

#[test]
fn a_value_stays_until_its_options_or_its_signer_change() {
    let mut variables = mesh();
    let ca = |common_name: &str| spec("/boshy/ca", "certificate", json!({"is_ca": true, "common_name": common_name}));
    let agent = spec(
        "agent",
        "certificate",
        json!({"ca": "/boshy/ca", "common_name": "agent", "extended_key_usage": ["client_auth"]}),
    );
    let before = variables.value("mesh", "agent").unwrap();
    for same in [ca("boshy-mesh"), agent.clone()] {
        variables.generate("mesh", &same).unwrap();
    }
    assert_eq!(variables.value("mesh", "agent").unwrap(), before);
    variables.generate("shop", &ca("another")).unwrap();
    variables.generate("mesh", &agent).unwrap();
    let after = variables.value("mesh", "agent").unwrap();
    assert_ne!(after, before);
    assert_eq!(after["ca"], variables.value("shop", "/boshy/ca.certificate").unwrap());
}

#[test]
fn relative_names_are_a_deployments_own() {
    let mut variables = Variables::new("lab");
    variables.generate("a", &spec("secret", "password", Value::Null)).unwrap();
    variables.generate("b", &spec("secret", "password", json!({"length": 40}))).unwrap();
    let (a, b) = (variables.value("a", "secret").unwrap(), variables.value("b", "/lab/b/secret").unwrap());
    assert_eq!((a.as_str().unwrap().len(), b.as_str().unwrap().len()), (30, 40));
    let rows = variables.rows("a");
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["name"]), (1, &json!("/lab/a/secret")));
    assert_eq!(variables.rows("none"), json!([]));
    assert!(!format!("{variables:?}").contains(a.as_str().unwrap()));
}

#[test]
fn what_cannot_be_found_or_made_is_named() {
    let mut variables = mesh();
    let error = variables.value("mesh", "nope").unwrap_err();
    assert!(
        error.starts_with("Failed to find variable '/lab/mesh/nope' from config server: HTTP Code '404'"),
        "{error}"
    );
    let error = variables.value("mesh", "/boshy/ca.x").unwrap_err();
    assert!(error.ends_with("Expected parent '/boshy/ca' hash to have key 'x'"), "{error}");
    let error = variables.value("mesh", "/boshy/ca.ca.x").unwrap_err();
    assert!(error.ends_with("Expected parent '/boshy/ca.ca' to be a hash"), "{error}");
    let mut generate =
        |name: &str, kind: &str, options| variables.generate("mesh", &spec(name, kind, options)).unwrap_err();
    let error = generate("k", "rsa", Value::Null);
    let text = "Config Server failed to generate value for '/lab/mesh/k' with type 'rsa'. HTTP Code '400', Error: 'this \
                director makes no values of this type'";
    assert_eq!((error.code, error.description.as_str()), (540_005, text));
    assert_eq!(generate("c", "certificate", json!({"ca": "/no"})).code, 540_005);
    assert_eq!(generate("c", "certificate", json!({"extended_key_usage": ["x"]})).code, 540_005);
    assert_eq!(generate("a b", "password", Value::Null).code, 540_004);
    assert_eq!(generate("a//b", "password", Value::Null).code, 540_004);
}
