use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::session::client::samples::{listener, name, vip};

fn stored(listeners: &[Resource], names: &[(&str, u8, bool)]) -> Stored {
    let map = |resources: Vec<Resource>| -> Arc<ResourceMap> {
        Arc::new(resources.into_iter().map(|resource| (Arc::clone(&resource.name), Arc::new(resource))).collect())
    };
    let side = |answered| {
        let names = names.iter().filter(|(_, _, is)| *is == answered);
        let target = |last: &u8| Target { vip: vip(*last), needs: None };
        Arc::new(names.map(|(host, last, _)| (Hostname::parse(host).unwrap(), target(last))).collect())
    };
    let names_map = map(names.iter().map(|(host, last, _)| name(host, *last)).collect());
    let listeners = map(listeners.to_vec());
    Stored {
        resources: DeltaClient::knowing(|kind| match kind {
            ResourceType::Names => Some(Arc::clone(&names_map)),
            ResourceType::Listener => Some(Arc::clone(&listeners)),
            ResourceType::Cluster => Some(Arc::default()),
            _ => None,
        }),
        answered: side(true),
        waiting: side(false),
        table: Some(7),
    }
}

fn sample() -> Stored {
    stored(&[listener("tcp_169.254.255.1_80", 1)], &[("a.boshy", 1, true), ("b.boshy", 2, false)])
}

/// The same, with the versions that a pilot of the first release gave: 16 hexadecimal digits of the hash.
fn sample_of_the_first_release() -> Stored {
    let Stored { resources, answered, waiting, .. } = sample();
    let as_then = |resource: &Resource| {
        let digits =
            Sha256::digest(&resource.body).iter().take(8).map(|octet| format!("{octet:02x}")).collect::<String>();
        Arc::new(Resource { version: digits.into(), ..resource.clone() })
    };
    let all =
        |kind| resources.held(kind).iter().map(|(name, resource)| (Arc::clone(name), as_then(resource))).collect();
    let resources = DeltaClient::knowing(|kind| resources.is_known(kind).then(|| Arc::new(all(kind))));
    Stored { resources, answered, waiting, table: None }
}

/// A file with a valid header.
fn file(content: &[u8]) -> Bytes {
    FORMAT.seal(content).into()
}

/// Written by an agent of the first release, whose header was its own: `sample` as its state.
const OF_THE_FIRST_RELEASE: &[u8] = include_bytes!("../../../../../tests/fixtures/state/agent-of-the-first-release");

#[test]
fn nothing_is_something_that_can_be_stored() {
    assert_eq!(Stored::decode(&Stored::default().encode()).unwrap(), Stored::default());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let octets = sample().encode();
    for length in 0..octets.len() {
        let error = Stored::decode(&octets.slice(..length)).unwrap_err();
        assert!(matches!(error, StoreError::Seal(_)), "{length}: {error}");
    }
    let longer = Bytes::from([&octets[..], b"x"].concat());
    assert!(matches!(Stored::decode(&longer), Err(StoreError::Seal(SealError::Checksum))));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for octets in [sample().encode(), Bytes::from_static(OF_THE_FIRST_RELEASE)] {
        // The first release also wrote the length of the content, which is not needed.
        let checked = (0..octets.len()).filter(|at| !octets.starts_with(FIRST_MAGIC) || !(12..20).contains(at));
        for position in checked {
            let mut damaged = octets.to_vec();
            damaged[position] ^= 0x10;
            assert!(Stored::decode(&damaged.into()).is_err(), "octet {position}");
        }
    }
}

#[test]
fn a_file_of_the_first_release_is_read() {
    assert_eq!(Stored::decode(&Bytes::from_static(OF_THE_FIRST_RELEASE)).unwrap(), sample_of_the_first_release());
}

#[test]
fn files_of_others_and_of_later_versions_are_told_apart() {
    let decode = |octets: &[u8]| Stored::decode(&Bytes::copy_from_slice(octets)).unwrap_err().to_string();
    assert_eq!(decode(b"{\"some\": \"json\"}"), "is no boshy-relay file");
    let later = Format { version: 2, ..FORMAT };
    assert_eq!(decode(&later.seal(b"")), "has format 2, this boshy reads format 1");
    assert!(matches!(Stored::decode(&file(b"\xff")), Err(StoreError::Protobuf(_))));
}

#[test]
fn an_answered_name_without_a_resource_is_inconsistent() {
    let payload = File { types: vec![], answered: vec!["a.boshy".into()], edition: 0, table: None }.encode_to_vec();
    assert!(matches!(Stored::decode(&file(&payload)), Err(StoreError::Inconsistent(_))));
}

#[test]
fn a_type_that_is_not_served_is_ignored_as_long_as_nothing_of_it_is_stored() {
    let url = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    let mut older = File::decode(FORMAT.unseal(&sample().encode()).unwrap()).unwrap();
    older.types.push(FileType { url, ..FileType::default() });
    assert_eq!(Stored::decode(&file(&older.encode_to_vec())).unwrap(), sample());
    older.types.last_mut().unwrap().resources.push(FileResource::default());
    assert!(matches!(Stored::decode(&file(&older.encode_to_vec())), Err(StoreError::Inconsistent(_))));
}

/// The first release stored routes, of which there never were any.
#[test]
fn a_state_with_a_type_that_is_empty_knows_it() {
    let mut older = File::decode(FORMAT.unseal(&sample().encode()).unwrap()).unwrap();
    older.types.push(FileType { url: ResourceType::Route.url().to_owned(), ..FileType::default() });
    let stored = Stored::decode(&file(&older.encode_to_vec())).unwrap();
    assert!(stored.resources.is_known(ResourceType::Route) && !sample().resources.is_known(ResourceType::Route));
}

#[test]
fn a_resource_under_another_name_is_inconsistent() {
    let resource = FileResource { name: "b".into(), version: "1".into(), body: listener("a", 1).body };
    let entry = FileType { url: ResourceType::Listener.url().into(), resources: vec![resource], removed: vec![] };
    let payload = File { types: vec![entry], answered: vec![], edition: 0, table: None }.encode_to_vec();
    let error = Stored::decode(&file(&payload)).unwrap_err();
    assert_eq!(error.to_string(), r#"the stored state is inconsistent: resource "b" carries the name "a""#);
}

#[test]
fn a_type_that_becomes_known_is_no_change_and_an_edition_is_no_state() {
    let (none, some) = (Stored::default(), sample());
    assert_eq!((some.encode_change(&none), none.encode_change(&some)), (None, None));
    assert_eq!(some.encode_change(&some.clone()), Some(Vec::new()));
    assert_ne!(some.encode_edition(1), some.encode_edition(2));
    assert_eq!(Stored::decode(&some.encode_edition(1)).unwrap(), some);
}

/// One resource of thousands is little to write.
#[test]
fn a_change_has_what_changed_alone() {
    let listeners: Vec<_> = (0..1000).map(|number| listener(&format!("tcp_10.0.0.1_{number}"), 1)).collect();
    let before = stored(&listeners, &[]);
    let mut changed = listeners;
    changed[500] = listener("tcp_10.0.0.1_500", 2);
    let change = stored(&changed, &[]).encode_change(&before).unwrap();
    assert!(change.len() < 200 && before.encode().len() > 30_000, "{} {}", change.len(), before.encode().len());
    assert_eq!(Stored::decode_with(&before.encode(), vec![change]).unwrap(), stored(&changed, &[]));
}

/// States that know the same types.
fn states() -> impl Strategy<Value = Stored> {
    let listeners = proptest::collection::btree_map("[a-c]", 0_u32..3, 0..4);
    let names = proptest::collection::btree_map("[a-c]\\.boshy", (0_u8..3, any::<bool>()), 0..4);
    (listeners, names).prop_map(|(listeners, names)| {
        let listeners: Vec<_> = listeners.iter().map(|(name, edition)| listener(name, *edition)).collect();
        let names: Vec<_> = names.iter().map(|(host, (last, answered))| (host.as_str(), *last, *answered)).collect();
        stored(&listeners, &names)
    })
}

proptest! {
    #[test]
    fn what_is_stored_comes_back(
        listeners in proptest::collection::btree_map("[a-z0-9_.]{1,12}", 0_u32..9, 0..20),
        names in proptest::collection::btree_map("[a-z]{1,5}\\.boshy", (0_u8.., any::<bool>()), 0..20),
    ) {
        let listeners: Vec<_> = listeners.iter().map(|(name, edition)| listener(name, *edition)).collect();
        let names: Vec<_> = names.iter().map(|(host, (last, answered))| (host.as_str(), *last, *answered)).collect();
        let stored = stored(&listeners, &names);
        prop_assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
    }

    /// Of each state, what has changed since the one before.
    #[test]
    fn changes_lead_to_the_last_of_the_states(states in proptest::collection::vec(states(), 1..6), edition: u64) {
        let changes = states.windows(2).map(|two| two[1].encode_change(&two[0]).unwrap()).collect::<Vec<_>>();
        for (change, two) in changes.iter().zip(states.windows(2)) {
            prop_assert!(!change.is_empty() || two[0].encode() == two[1].encode());
        }
        let read = Stored::decode_with(&states[0].encode_edition(edition), changes).unwrap();
        prop_assert_eq!(&read, states.last().unwrap());
    }

    #[test]
    fn no_bytes_make_decoding_a_change_panic(octets: Vec<u8>) {
        let _ = Stored::decode_with(&sample().encode(), vec![octets]);
    }

    #[test]
    fn no_bytes_make_decoding_panic(octets: Vec<u8>, framed: bool) {
        let octets = if framed { file(&octets) } else { octets.into() };
        let _ = Stored::decode(&octets);
    }

    /// The checksum is valid, so that the content is parsed.
    #[test]
    fn spoilt_content_is_refused_or_can_be_stored_again(
        spoilt in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut payload = FORMAT.unseal(&sample().encode()).unwrap().to_vec();
        for (at, octet) in spoilt {
            let at = at.index(payload.len());
            payload[at] = octet;
        }
        payload.truncate(cut.map_or(payload.len(), |at| at.index(payload.len())));
        if let Ok(stored) = Stored::decode(&file(&payload)) {
            prop_assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
        }
    }
}
