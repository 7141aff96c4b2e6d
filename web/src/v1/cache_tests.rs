use super::*;

fn snapshot(generation: u64) -> Arc<MeshSnapshot> {
    Arc::new(MeshSnapshot { generation, ..MeshSnapshot::default() })
}

fn document(body: impl Into<Bytes>) -> Document {
    Document { body: body.into(), resources: 1 }
}

fn cache() -> (watch::Sender<Arc<MeshSnapshot>>, ResponseCache) {
    let (sender, receiver) = watch::channel(snapshot(1));
    (sender, ResponseCache::new(receiver))
}

fn counts(cache: &ResponseCache, url: &str) -> Option<(u64, u64)> {
    cache.statistics().get(url).map(|counts| (counts.hit, counts.miss))
}

#[test]
fn a_stored_response_is_rendered_once() {
    let (_sender, cache) = cache();
    let render = |_: &MeshSnapshot| document("first");
    let never = |_: &MeshSnapshot| -> Document { panic!("rendered again") };
    assert_eq!(cache.respond(&cache.current(), "/a".into(), render), "first");
    assert_eq!(cache.respond(&cache.current(), "/a".into(), never), "first");
    assert_eq!(counts(&cache, "/a"), Some((1, 1)));
    assert_eq!((cache.hits.get(), cache.misses.get()), (1, 1));
}

#[test]
fn an_empty_response_is_never_stored() {
    let (_sender, cache) = cache();
    for body in ["one", "two"] {
        let empty = |_: &MeshSnapshot| Document { body: body.into(), resources: 0 };
        assert_eq!(cache.respond(&cache.current(), "/a".into(), empty), body);
    }
    assert_eq!(counts(&cache, "/a"), None);
}

#[test]
fn a_new_snapshot_forgets_responses_and_keeps_counts() {
    let (sender, cache) = cache();
    cache.respond(&cache.current(), "/a".into(), |_| document("old"));
    sender.send_replace(snapshot(2));
    assert_eq!(cache.bytes(), 0);
    assert_eq!(cache.respond(&cache.current(), "/a".into(), |_| document("new")), "new");
    assert_eq!(counts(&cache, "/a"), Some((0, 2)));
}

#[test]
fn a_response_from_old_data_that_is_late_is_not_served_to_others() {
    let (sender, cache) = cache();
    let early = cache.current();
    sender.send_replace(snapshot(2));
    cache.respond(&cache.current(), "/b".into(), |_| document("new b"));
    assert_eq!(cache.respond(&early, "/a".into(), |_| document("old a")), "old a");
    assert_eq!(cache.respond(&cache.current(), "/a".into(), |_| document("new a")), "new a");
}

#[test]
fn all_of_a_response_comes_from_one_snapshot() {
    let (sender, cache) = cache();
    let generation = cache.current();
    let body = cache.respond(&generation, "/a".into(), |seen| {
        sender.send_replace(snapshot(2));
        document(seen.generation.to_string())
    });
    assert_eq!(body, "1");
}

#[test]
fn the_least_recently_used_responses_make_room() {
    let (_sender, cache) = cache();
    let generation = cache.current();
    let third = || document(vec![b' '; MAX_BYTES / 3]);
    for url in ["/a", "/b"] {
        cache.respond(&generation, url.into(), |_| third());
    }
    cache.respond(&generation, "/a".into(), |_| panic!("rendered again"));
    cache.respond(&generation, "/c".into(), |_| third());
    assert!(cache.bytes() <= MAX_BYTES);
    cache.respond(&generation, "/a".into(), |_| panic!("rendered again"));
    assert_eq!(cache.respond(&generation, "/b".into(), |_| document("gone")), "gone");
}

#[test]
fn what_would_take_all_the_room_is_served_and_not_stored() {
    let (_sender, cache) = cache();
    cache.respond(&cache.current(), "/big".into(), |_| document(vec![b' '; MAX_BYTES]));
    cache.respond(&cache.current(), "/".repeat(MAX_URL + 1), |_| document("long"));
    assert_eq!((cache.bytes(), cache.statistics().len()), (0, 0));
}

#[test]
fn statistics_are_kept_of_a_bounded_number_of_urls() {
    let (_sender, cache) = cache();
    for number in 0..MAX_URLS + 100 {
        cache.respond(&cache.current(), format!("/{number}"), |_| document("x"));
    }
    assert!(cache.statistics().len() <= MAX_URLS + 1, "{}", cache.statistics().len());
}

#[test]
fn zeroed_counts_keep_their_urls_and_the_responses() {
    let (_sender, cache) = cache();
    cache.respond(&cache.current(), "/a".into(), |_| document("kept"));
    cache.reset_statistics();
    assert_eq!(counts(&cache, "/a"), Some((0, 0)));
    cache.respond(&cache.current(), "/a".into(), |_| panic!("rendered again"));
    assert_eq!(counts(&cache, "/a"), Some((1, 0)));
}
