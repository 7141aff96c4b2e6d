//! An exchange controlled by a test: one task passes it the events of its streams, its proxy, its disk and the clock.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::agent::{
    Exchange, ExchangeSettings, Outlets, PickerSettings, PilotStream, StreamEvent, StreamListener, Uri,
};

struct Ear(Arc<Mutex<Exchange>>);

impl StreamListener for Ear {
    async fn hear(&self, event: StreamEvent) -> bool {
        self.0.lock().await.heard(event);
        true
    }
}

/// Runs the exchange of a node with these pilots forever.
pub(crate) async fn converse(
    node: boshy_mesh::NodeId,
    exchange: Exchange,
    settings: ExchangeSettings,
    pilots: Vec<Uri>,
    picker: PickerSettings,
    ack_states: super::AckStates,
    outlets: Outlets,
) {
    let exchange = Arc::new(Mutex::new(exchange));
    let connection = tokio::sync::watch::Sender::default();
    let (unanswered, stored) = (outlets.unanswered.subscribe(), outlets.stored.subscribe());
    let avoided = Default::default();
    let stream = PilotStream { node, settings, tls: None, unanswered, stored, avoided, connection };
    let ear = Ear(Arc::clone(&exchange));
    let streams = stream.run_forever(&pilots, picker, &ear);
    let (mut answers, mut kept) = (ack_states.changes(), outlets.kept.subscribe());
    let inputs = async {
        loop {
            let deadline = exchange.lock().await.deadline();
            let soon = std::time::Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                _ = answers.changed() => drop(exchange.lock().await.ack_states_changed()),
                _ = kept.changed() => exchange.lock().await.kept(),
                () = tokio::time::sleep_until(deadline.unwrap_or(soon).into()) => exchange.lock().await.time(),
                // A response that arrived in the meantime may have set an earlier deadline.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    tokio::join!(streams, inputs);
}
