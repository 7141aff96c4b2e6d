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
    ExchangeSettings, PickerSettings, PilotPicker, PilotStream, StreamListener,
    connect::{addresses, connect_at},
};

impl PilotStream {
    /// Runs streams for ever. From a pilot that is not the preferred one, it goes back when that is there again: a stream
    /// that is opened anew brings nothing that this VM has. Waits for ever without a pilot.
    pub async fn run_forever(
        &self,
        pilots: &[Uri],
        settings: PickerSettings,
        listener: &impl StreamListener,
    ) -> Infallible {
        let Some(mut picker) = PilotPicker::new(pilots.to_vec(), settings) else { return std::future::pending().await };
        let mut attempt = picker.first();
        loop {
            let stream = async {
                sleep(attempt.pause).await;
                self.run(&attempt.pilot, listener).await
            };
            attempt = tokio::select! {
                lived = stream => picker.after(lived, rand::random()),
                pilot = self.preferred(pilots, picker.look(rand::random())) => {
                    info!(%pilot, "going back to a pilot that this VM prefers");
                    picker.back_to(pilot)
                }
            };
        }
    }

    /// Waits until a pilot accepts connections that this VM prefers to the connected one: one of `pilots` before it, or
    /// an address of the same name that comes before in the order of the [`Spread`](super::Spread). It looks after each
    /// pause. Never ends while no stream is open.
    async fn preferred<'p>(&self, pilots: &'p [Uri], pause: Duration) -> &'p Uri {
        loop {
            sleep(pause).await;
            let connection = self.connection.borrow().as_ref().map(|it| (it.pilot.clone(), it.address));
            let Some(connected) = connection else { continue };
            if let Some(pilot) = self.better(pilots, &connected).await {
                return pilot;
            }
        }
    }

    async fn better<'p>(&self, pilots: &'p [Uri], connected: &(Uri, SocketAddr)) -> Option<&'p Uri> {
        let ExchangeSettings { connect_timeout: patience, spread, .. } = self.settings;
        for pilot in pilots {
            for address in addresses(pilot, spread, patience).await.unwrap_or_default() {
                if (pilot, &address) == (&connected.0, &connected.1) {
                    return None;
                }
                if !self.avoided.has(&address, Instant::now())
                    && connect_at(pilot, address, self.tls.as_ref(), patience).await.is_ok()
                {
                    return Some(pilot);
                }
            }
        }
        None
    }
}
