//! A client in process.

use actix_web::{
    body::MessageBody,
    dev::ServiceResponse,
    http::header::{CONTENT_TYPE, LOCATION},
    test,
};

/// The visible parts of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) kind: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, kind: Some("text/plain; charset=utf-8".into()), location: None, body: body.into() }
    }

    pub(crate) fn json(body: &str) -> Self {
        Self { kind: Some("application/json".into()), ..Self::text(200, body) }
    }

    pub(crate) async fn of<B: MessageBody>(response: ServiceResponse<B>) -> Self {
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, kind, location) = (response.status().as_u16(), header(CONTENT_TYPE), header(LOCATION));
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        Self { status, kind, location, body }
    }
}

/// Makes a function from a request to the visible response, for an application built by `configure`. It is a macro,
/// because the application's type cannot be named.
macro_rules! client {
    ($configure:expr) => {{
        let app = actix_web::test::init_service(actix_web::App::new().configure($configure)).await;
        async move |request: actix_web::test::TestRequest| {
            $crate::client::Seen::of(actix_web::test::call_service(&app, request.to_request()).await).await
        }
    }};
}
pub(crate) use client;
