//! Why a request to the other side got no answer.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum CallError {
    #[error("cannot resolve {address}: {source}")]
    Resolve { address: String, source: std::io::Error },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: std::io::Error },
    /// The request may or may not have been carried out.
    #[error("no answer from {address} within {waited_ms} ms")]
    Timeout { address: String, waited_ms: u64 },
    /// The request may or may not have been carried out.
    #[error("the connection to {address} closed before the answer came")]
    Closed { address: String },
}

impl CallError {
    /// True when the peer certainly did not see the request.
    pub fn never_sent(&self) -> bool {
        match self {
            CallError::Resolve { .. } | CallError::Connect { .. } => true,
            CallError::Timeout { .. } | CallError::Closed { .. } => false,
        }
    }
}
