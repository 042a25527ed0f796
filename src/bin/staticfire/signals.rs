//! SIGTERM and SIGINT: the first asks for a graceful stop, the second ends the process at once.

use tokio_real::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::say;

/// The requests to stop that this process receives.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on, neither signal ends the process by itself.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub(crate) fn listen() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Runtime { error });
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Ends at the next request to stop.
    pub(crate) async fn stop_requested(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `work` to its end, unless another request to stop comes first: then the process exits with code 1.
    pub(crate) async fn or_exit<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            value = work => value,
            () = self.stop_requested() => {
                say::warning("stopped at once on a second signal: the next start recovers as after a crash");
                std::process::exit(1);
            }
        }
    }
}
