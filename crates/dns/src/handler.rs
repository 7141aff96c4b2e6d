//! The HTTP handler protocol of bosh-dns: what the agent answers to `GET /?name=<name>&type=<number>`.
//!
//! bosh-dns reads `TC` and `Answer` and nothing else, turns every answer into an A record, and takes any status other than 200
//! for a failure. So it cannot be told that a name does not exist: the empty answer says that there is no address, and
//! `Status` says why to everyone else who looks.

use serde::Serialize;

use crate::{
    ANSWER_TTL, Rcode, Zone,
    wire::{self, kind},
    zone::Verdict,
};

/// The two parameters of the request, as they are after percent-decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlerQuery<'q> {
    /// `name`, with or without a final dot.
    pub name: Option<&'q str>,
    /// `type`, a number; an A record when absent.
    pub kind: Option<&'q str>,
}

/// What goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerAnswer {
    /// The HTTP status: 200, 400 when a parameter cannot be read, 503 before the first name table.
    pub status: u16,
    /// JSON, whatever the status.
    pub body: String,
}

/// The body. It is the JSON form of DNS that public resolvers use, of which bosh-dns took a part.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names are those of the protocol")]
struct Body<'q> {
    Status: u16,
    TC: bool,
    RD: bool,
    RA: bool,
    AD: bool,
    CD: bool,
    Question: Vec<Question<'q>>,
    Answer: Vec<Answer<'q>>,
    Additional: [(); 0],
    edns_client_subnet: &'static str,
}

#[derive(Serialize)]
struct Question<'q> {
    name: &'q str,
    r#type: u16,
}

#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names are those of the protocol")]
struct Answer<'q> {
    name: &'q str,
    r#type: u16,
    TTL: u32,
    data: String,
}

/// Answers one request.
pub fn answer(zone: &Zone, query: HandlerQuery<'_>) -> HandlerAnswer {
    let Ok(kind) = query.kind.unwrap_or("1").parse() else {
        return render(400, Rcode::ServFail, None, None);
    };
    let question = |name| Some(Question { name, r#type: kind });
    let Some(name) = query.name else {
        // A type without data needs no name to be answered.
        let (status, rcode) = if kind == kind::A { (400, Rcode::ServFail) } else { (200, Rcode::NoError) };
        return render(status, rcode, question(""), None);
    };
    let (status, rcode, address) = decide(zone, name, kind);
    let answer = address.map(|data| Answer { name, r#type: kind::A, TTL: ANSWER_TTL, data });
    render(status, rcode, question(name), answer)
}

fn decide(zone: &Zone, name: &str, kind: u16) -> (u16, Rcode, Option<String>) {
    // An A record is all that can be transported, so every other type, ANY too, has no data.
    if kind != kind::A {
        return (200, Rcode::NoError, None);
    }
    let Some(name) = wire::lower_name(name) else {
        return (200, Rcode::NxDomain, None);
    };
    match zone.decide(&name, kind) {
        Verdict::Address(record) => (200, Rcode::NoError, Some(record.address().to_string())),
        Verdict::NoData | Verdict::Soa | Verdict::Ns => (200, Rcode::NoError, None),
        Verdict::NoName => (200, Rcode::NxDomain, None),
        Verdict::Outside => (200, Rcode::Refused, None),
        Verdict::NotKnown => (503, Rcode::ServFail, None),
    }
}

fn render(status: u16, rcode: Rcode, question: Option<Question<'_>>, answer: Option<Answer<'_>>) -> HandlerAnswer {
    let body = Body {
        Status: rcode.code(),
        TC: false,
        RD: false,
        RA: false,
        AD: false,
        CD: false,
        Question: Vec::from_iter(question),
        Answer: Vec::from_iter(answer),
        Additional: [],
        edns_client_subnet: "0.0.0.0/0",
    };
    let body = serde_json::to_string(&body).expect("text, numbers and booleans always have a JSON form");
    HandlerAnswer { status, body }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
