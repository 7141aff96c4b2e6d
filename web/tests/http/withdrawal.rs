//! What root on a VM asks of the agent before the jobs stop.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::test::TestRequest;
use boshy_web::{
    agent,
    withdrawal::{self, Withdraw, Withdrawn},
};

use crate::{
    client::{Seen, client},
    operations::agent as view,
};

const POST: &str = "/stopping?within=7";

#[actix_web::test]
async fn endpoints_are_withdrawn_only_where_that_is_mounted_and_within_the_time_that_is_given() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let withdraw = Withdraw {
        withdraw: Arc::new(move |patience| {
            heard.lock().unwrap().push(patience);
            let untold = [("http://b:1/".to_owned(), "refused".to_owned())].into();
            let withdrawn = Withdrawn { told: vec!["http://a:1/".to_owned()], untold, is_called: true };
            Box::pin(async { withdrawn })
        }),
        take_back: Arc::new(|| true),
    };
    let ask = client!(move |config| {
        withdrawal::configure(config, &withdraw);
        agent::configure(config, &view());
    });
    let told = r#"{"told":["http://a:1/"],"untold":{"http://b:1/":"refused"},"is_called":true}"#;
    assert_eq!(ask(TestRequest::post().uri(POST)).await, Seen::json(told));
    assert_eq!(ask(TestRequest::post().uri("/stopping?within=4000000000")).await.status, 200);
    assert_eq!(*asked.lock().unwrap(), [7, 600].map(Duration::from_secs));
    assert_eq!(ask(TestRequest::delete().uri("/stopping")).await, Seen::json(r#"{"was_stopping":true}"#));
    for wrong in ["/stopping", "/stopping?within=-1", "/stopping?within=soon"] {
        assert_eq!(ask(TestRequest::post().uri(wrong)).await.status, 400, "{wrong}");
    }
    assert_eq!(ask(TestRequest::get().uri(POST)).await.status, 405);
    assert_eq!(asked.lock().unwrap().len(), 2);

    let ask = client!(|config| agent::configure(config, &view()));
    assert_eq!(ask(TestRequest::post().uri(POST)).await.status, 404, "the port on loopback does not have it");
}
