//! One connection of a broker, client or tool.
//!
//! Its number is the incarnation of every broker that registers over it.

use std::sync::Arc;

use super::answer::When;
use super::dispatch;
use super::driver::Driver;
use super::tables::Request;
use crate::machine::route::Origin;
use crate::protocol::Frame;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::remoting::Serve;
use crate::remoting::Session;

pub(super) struct Sessions {
    driver: Arc<Driver>,
}

impl Sessions {
    pub(super) fn new(driver: Arc<Driver>) -> Sessions {
        Sessions { driver }
    }
}

impl Serve for Sessions {
    fn open(&self, connection: &Arc<Connection>) -> Box<dyn Session> {
        let origin = Origin(connection.id().0);
        self.driver.opened(origin, connection);
        Box::new(Open { driver: Arc::clone(&self.driver), connection: Arc::clone(connection), origin })
    }
}

struct Open {
    driver: Arc<Driver>,
    connection: Arc<Connection>,
    origin: Origin,
}

impl Session for Open {
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies) {
        let now = self.driver.now();
        let request = Request { header: &frame.header, body: &frame.body, origin: self.origin, now };
        let answer = self.driver.with_tables(|tables| dispatch::dispatch(tables, &request));
        let oneway = frame.header.is_oneway();
        let when = answer.when;
        let (header, body) = answer.into_frame(&frame.header);
        match when {
            When::KvSaved => {
                let waiting = (!oneway).then(|| (Arc::clone(&self.connection), header));
                self.driver.once_saved(waiting);
            }
            When::Now if oneway => {}
            When::Now => replies.push(&header, body),
        }
    }

    fn on_closed(&mut self) {
        self.driver.closed(self.origin);
    }
}
