//! Segments are removed while readers wait for the disk: nobody is told of damage, or skips what is still there.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::env::Env;
use staticfire::sim::Outcome;
use staticfire::store::Config;
use staticfire::store::Flush;
use staticfire::store::ReadLimits;
use staticfire::store::ReadStatus;
use staticfire::store::Store;
use staticfire::store::planted;

use crate::store_crash::config;
use crate::store_faults::max;
use crate::store_faults::send;
use crate::store_faults::simulate;

const MESSAGES: usize = 400;

/// Reads from the first message to the end, over everything that goes meanwhile.
async fn read_through(store: &Store) {
    let mut from = QueueOffset(0);
    loop {
        let limits = ReadLimits::pull(3);
        let read = store.read("even", QueueId(0), from, &limits, &|_| true).await;
        let read = read.expect("what is removed is no failure of the disk");
        match read.status {
            ReadStatus::Found => assert_eq!(read.next.0, from.0 + read.records.len() as u64),
            ReadStatus::OffsetTooSmall => assert!(from < read.next && read.next == read.min, "{read:?}"),
            ReadStatus::OffsetOverflowOne => return,
            _ => panic!("from {from}: {:?}", read.status),
        }
        from = read.next;
    }
}

async fn remove_everything(env: &Env, store: &Store) {
    while store.remove_oldest().await.expect("a healthy disk").segments > 0 {
        env.sleep_ms(1).await;
    }
}

fn removed_under_readers(seed: u64, bug: Option<&str>, raced: &Arc<AtomicUsize>) -> Outcome<()> {
    let raced = Arc::clone(raced);
    simulate(seed, bug, move |world| async move {
        let node = world.machine("broker");
        // Nothing is hot: every read asks the disk.
        let cold = Config { hot_bytes: 0, ..config(Flush::Sync) };
        let (store, _) = Store::open(&node.env(), cold.clone()).await.expect("opens");
        for number in 0..MESSAGES {
            send(&store, number, 700).await.expect("a healthy disk");
        }
        store.shutdown().await.expect("shuts down");
        drop(store);
        let (store, _) = Store::open(&node.env(), cold).await.expect("opens again");
        let env = node.env();
        tokio::join!(
            read_through(&store),
            read_through(&store),
            read_through(&store),
            remove_everything(&env, &store)
        );
        let bounds = store.bounds("even", QueueId(0)).expect("the queue stays");
        assert!(bounds.min.0 > 0 && bounds.max.0 == max(&store), "{bounds:?}");
        if world.probes().contains_key("store.removed_under_a_read") {
            raced.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[test]
fn a_reader_whose_messages_go_meanwhile_is_told_where_the_queue_begins() {
    let raced = Arc::default();
    for seed in 0..20 {
        removed_under_readers(seed, None, &raced).expect_ok();
    }
    assert!(raced.load(Ordering::Relaxed) > 0, "vacuous: no read was overtaken");
    let seen = (0..20)
        .any(|seed| removed_under_readers(seed, Some(planted::REMOVAL_IS_DAMAGE), &raced).result.is_err());
    assert!(seen, "a removal that looks like damage went unseen");
}
