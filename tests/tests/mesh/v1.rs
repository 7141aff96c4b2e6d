//! Answers of the v1 API over a real socket to invalid requests. The texts are tested beside the server.

use boshy_tests::{Director, Manifest, Operated};

#[test]
fn bad_v1_requests_are_refused_with_the_statuses_of_the_api() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    pilot.is_ready();
    for (path, status) in [
        ("/v1/registration", 200),
        ("/v1/registration/", 200),
        ("/v1//registration", 301),
        ("/v1/registration/nobody", 200),
        ("/v1/registration/a/b", 404),
        ("/v1/listeners/x/x", 404),
        ("/v1/listeners/x/gateway~1.2.3.4~x~x", 404),
        ("/v1/clusters/x/sidecar~nope~x~x", 404),
        ("/v1/clusters/x/sidecar~1.2.3.4~x~x", 200),
        ("/v1/clusters/x", 404),
        ("/v1/routes/http/x/sidecar~1.2.3.4~x~x", 503),
        ("/v1/az/x/sidecar~1.2.3.4~x~x", 404),
        ("/v1/listeners/x/%zz", 400),
        ("/v2/registration", 404),
        ("/cache_stats_delete", 405),
    ] {
        assert_eq!(pilot.get(path).status, status, "{path}");
    }
    assert_eq!(pilot.http().post("/v1/registration").unwrap().status, 405);
    assert_eq!(pilot.http().get_accepting("/v1/registration", "text/html").unwrap().status, 406);
    assert_eq!(pilot.http().get_accepting("/v1/registration", "application/json").unwrap().status, 200);
}
