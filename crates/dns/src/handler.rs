//! The HTTP handler protocol of bosh-dns: the agent's answer to `GET /?name=<name>&type=<number>`.
//!
//! bosh-dns reads only `TC` and `Answer`, turns every answer into an A record, and treats any status other than 200 as
//! a failure. So it cannot be told that a name does not exist: an empty answer says that there is no address. `Status`
//! gives the reason to other readers.

use serde::Serialize;

use crate::{
    ANSWER_TTL, Rcode, Zone,
    wire::{self, rtype},
    zone::Lookup,
};

/// The two parameters of the request, after percent-decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlerQuery<'q> {
    /// `name`, with or without a final dot.
    pub name: Option<&'q str>,
    /// `type`, a number. When absent, an A record is meant.
    pub qtype: Option<&'q str>,
}

/// The HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerResponse {
    /// HTTP status: 200, 400 when a parameter cannot be parsed, 503 before the first name table.
    pub status: u16,
    /// JSON, for every status.
    pub body: String,
}

/// The body. It is the JSON form of DNS used by public resolvers, of which bosh-dns implements a part.
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
pub fn answer(zone: &Zone, query: HandlerQuery<'_>) -> HandlerResponse {
    let Ok(qtype) = query.qtype.unwrap_or("1").parse() else {
        return render(400, Rcode::ServFail, None, None);
    };
    let question = |name| Some(Question { name, r#type: qtype });
    let Some(name) = query.name else {
        // For a type without data the answer is the same without a name.
        let (status, rcode) = if qtype == rtype::A { (400, Rcode::ServFail) } else { (200, Rcode::NoError) };
        return render(status, rcode, question(""), None);
    };
    let (status, rcode, address) = decide(zone, name, qtype);
    let answer = address.map(|data| Answer { name, r#type: rtype::A, TTL: ANSWER_TTL, data });
    render(status, rcode, question(name), answer)
}

fn decide(zone: &Zone, name: &str, qtype: u16) -> (u16, Rcode, Option<String>) {
    // The protocol can carry only A records, so every other type, including ANY, has no data.
    if qtype != rtype::A {
        return (200, Rcode::NoError, None);
    }
    let Some(name) = wire::lower_name(name) else {
        return (200, Rcode::NxDomain, None);
    };
    match zone.lookup(&name, qtype) {
        Lookup::Address(record) => (200, Rcode::NoError, Some(record.address().to_string())),
        Lookup::NoData | Lookup::Soa | Lookup::Ns => (200, Rcode::NoError, None),
        Lookup::NxDomain => (200, Rcode::NxDomain, None),
        Lookup::OutOfZone => (200, Rcode::Refused, None),
        Lookup::NotKnownYet => (503, Rcode::ServFail, None),
    }
}

fn render(status: u16, rcode: Rcode, question: Option<Question<'_>>, answer: Option<Answer<'_>>) -> HandlerResponse {
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
    HandlerResponse { status, body }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
