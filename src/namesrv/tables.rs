//! What handlers work on, and what they are asked.

use bytes::Bytes;

use super::Config;
use crate::base::Mono;
use crate::machine::route::KvConfig;
use crate::machine::route::Origin;
use crate::machine::route::Route;
use crate::protocol::Header;

pub(super) struct Tables {
    pub(super) config: Config,
    pub(super) route: Route,
    pub(super) kv: KvConfig,
}

pub(super) struct Request<'a> {
    pub(super) header: &'a Header,
    pub(super) body: &'a Bytes,
    /// The connection it came over.
    pub(super) origin: Origin,
    pub(super) now: Mono,
}

impl Tables {
    pub(super) fn new(config: Config, kv: KvConfig) -> Tables {
        Tables { config, route: Route::default(), kv }
    }
}
