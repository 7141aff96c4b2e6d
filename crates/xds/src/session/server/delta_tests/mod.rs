mod bounds;
mod order;
mod reconnects;
mod refusals;
mod subscriptions;

use envoy_types::pb::{envoy::service::discovery::v3::DeltaDiscoveryRequest, google::rpc};

use super::{test_support::*, *};
use ResourceType::{Cluster, Endpoints, Listener, Names};

type Stream = Session<Delta>;

fn open(set: ResourceSet) -> Stream {
    Session::new(Arc::new(set), Pacing::Answered)
}

fn ask(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.url().to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn leave(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        resource_names_unsubscribe: names.iter().map(ToString::to_string).collect(),
        ..ask(kind, &[])
    }
}

fn ack(response: &ResponseToProxy) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..ask(response.kind, &[]) }
}

fn nack(response: &ResponseToProxy) -> DeltaDiscoveryRequest {
    let error = rpc::Status { message: "no".to_owned(), ..rpc::Status::default() };
    DeltaDiscoveryRequest { error_detail: Some(error), ..ack(response) }
}

/// Sends a request and returns the responses to it.
fn request(stream: &mut Stream, request: DeltaDiscoveryRequest) -> Vec<ResponseToProxy> {
    responses(stream.request(request).unwrap())
}

/// Names and removed names in responses.
fn told(responses: &[ResponseToProxy]) -> Vec<(ResourceType, String)> {
    responses.iter().flat_map(described).collect()
}

/// Acknowledges every response until no more arrive.
fn settle(stream: &mut Stream, mut open: Vec<ResponseToProxy>) -> Vec<ResponseToProxy> {
    let mut all = Vec::new();
    while let Some(response) = open.pop() {
        open.extend(request(stream, ack(&response)));
        all.push(response);
    }
    all
}
