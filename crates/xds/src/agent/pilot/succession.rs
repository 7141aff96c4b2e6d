//! One stream after another: to the pilot that a VM prefers, or to the next one while that is away.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tonic::transport::Uri;
use tracing::info;

use super::{
    PickerSettings, PilotPicker, PilotStream, StreamListener,
    connect::{addresses, connect_at},
};

/// How one VM reaches pilots.
pub trait Reach {
    /// Opens a stream to a pilot and serves it until it ends. Returns how long it was open; zero when it could not be
    /// opened.
    fn run(&self, pilot: &Uri) -> impl Future<Output = Duration>;

    /// The pilot of the open stream, and its address.
    fn connected(&self) -> Option<(Uri, SocketAddr)>;

    /// The addresses of a pilot's name at present, in the order of the [`Spread`](super::Spread).
    fn addresses(&self, pilot: &Uri) -> impl Future<Output = Vec<SocketAddr>>;

    /// Whether a pilot would take a stream at this address.
    fn accepts(&self, pilot: &Uri, address: SocketAddr) -> impl Future<Output = bool>;
}

/// Runs streams for ever. From a pilot that is not the preferred one, a VM goes back when that is there again: a stream
/// that is opened anew brings nothing that this VM has. Waits for ever without a pilot.
pub async fn run_forever(reach: &impl Reach, pilots: &[Uri], settings: PickerSettings) -> Infallible {
    let Some(mut picker) = PilotPicker::new(pilots.to_vec(), settings) else { return std::future::pending().await };
    let mut attempt = picker.first();
    loop {
        let stream = async {
            sleep(attempt.pause).await;
            reach.run(&attempt.pilot).await
        };
        attempt = tokio::select! {
            lived = stream => picker.after(lived, rand::random()),
            pilot = preferred(reach, pilots, picker.look(rand::random())) => {
                info!(%pilot, "going back to a pilot that this VM prefers");
                picker.back_to(pilot)
            }
        };
    }
}

/// Waits until a pilot accepts connections that this VM prefers to the connected one: one of `pilots` before it, or an
/// address of the same name that comes before in the order of the [`Spread`](super::Spread). It looks after each pause.
/// Never ends while no stream is open.
async fn preferred<'p>(reach: &impl Reach, pilots: &'p [Uri], pause: Duration) -> &'p Uri {
    loop {
        sleep(pause).await;
        let Some(connected) = reach.connected() else { continue };
        if let Some(pilot) = better(reach, pilots, &connected).await {
            return pilot;
        }
    }
}

async fn better<'p>(reach: &impl Reach, pilots: &'p [Uri], connected: &(Uri, SocketAddr)) -> Option<&'p Uri> {
    for pilot in pilots {
        for address in reach.addresses(pilot).await {
            if (pilot, &address) == (&connected.0, &connected.1) {
                return None;
            }
            if reach.accepts(pilot, address).await {
                return Some(pilot);
            }
        }
    }
    None
}

impl PilotStream {
    /// Runs streams [for ever](run_forever), with one listener.
    pub async fn run_forever(
        &self,
        pilots: &[Uri],
        settings: PickerSettings,
        listener: &impl StreamListener,
    ) -> Infallible {
        run_forever(&Heard { stream: self, listener }, pilots, settings).await
    }
}

/// The streams of an agent, and who handles their events.
struct Heard<'s, L> {
    stream: &'s PilotStream,
    listener: &'s L,
}

impl<L: StreamListener> Reach for Heard<'_, L> {
    async fn run(&self, pilot: &Uri) -> Duration {
        self.stream.run(pilot, self.listener).await
    }

    fn connected(&self) -> Option<(Uri, SocketAddr)> {
        self.stream.connection.borrow().as_ref().map(|it| (it.pilot.clone(), it.address))
    }

    async fn addresses(&self, pilot: &Uri) -> Vec<SocketAddr> {
        let settings = &self.stream.settings;
        addresses(pilot, settings.spread, settings.connect_timeout).await.unwrap_or_default()
    }

    async fn accepts(&self, pilot: &Uri, address: SocketAddr) -> bool {
        let PilotStream { settings, tls, avoided, .. } = self.stream;
        !avoided.has(&address, Instant::now())
            && connect_at(pilot, address, tls.as_ref(), settings.connect_timeout).await.is_ok()
    }
}
