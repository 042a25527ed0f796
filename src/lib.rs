//! Staticfire: a RocketMQ-compatible message broker that is tested like a rocket engine.
//!
//! The tree is the architecture; dependencies point down (`ci/src/tidy` holds the table and fails when they do not):
//!
//! ```text
//! broker                    machine store remoting protocol env base
//! namesrv  client           machine       remoting protocol env base
//! sim                                                       env base
//! store  remoting                                  protocol env base
//! machine                                          protocol     base
//! protocol                                                      base
//! env                                                           base
//! ```

pub mod base;
pub mod broker;
pub mod client;
pub mod env;
pub mod machine;
pub mod namesrv;
pub mod protocol;
pub mod remoting;
#[cfg(madsim)]
pub mod sim;
pub mod store;
