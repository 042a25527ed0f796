//! Name server, broker and client in one process, over real sockets and files: what a program sees.
//!
//! A test of its own and not a module of the library: no layer below the binary may name both the broker and the client.

#![cfg(not(madsim))]

mod asked;
mod consuming;
mod fixture;
mod promises;
mod sending;
mod transactions;
