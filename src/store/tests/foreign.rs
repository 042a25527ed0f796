//! Logs and files that another broker left.

use super::*;
use crate::base::QueueOffset;
use crate::protocol::record;

/// Writes a log as a broker does that leaves no checkpoint of ours: each record with its queue offset and store time.
async fn write_log(config: &Config, records: &[(u64, i64)]) -> Vec<PhysicalOffset> {
    let log = config.root.join("commitlog");
    env().disk.create_dir_all(&log).await.unwrap();
    let segment = env().disk.open(&log.join(format!("{:020}", 0)), Access::Create).await.unwrap();
    let mut at = 0;
    let mut positions = Vec::new();
    for (offset, store_at) in records {
        let message = sized("T", 0, *offset, 200);
        let mut bytes = vec![0; record::encoded_len(&message).unwrap()];
        let position = PhysicalOffset(at);
        record::encode_into(&message, QueueOffset(*offset), position, Timestamp(*store_at), &mut bytes);
        positions.push(position);
        let len = bytes.len() as u64;
        segment.write_at(at, Bytes::from(bytes)).await.unwrap();
        at += len;
    }
    segment.set_len(config.segment_bytes).await.unwrap();
    positions
}

#[test]
fn another_brokers_gaps_in_a_queue_do_not_end_the_log() {
    run(async {
        let dir = scratch("gaps");
        let config = Config::small(&dir);
        // Ten messages in one record, as in a batch queue of Apache's: the next offset is ten further on.
        let positions = write_log(&config, &[(0, 10_000), (10, 10_001), (11, 10_002), (21, 10_003)]).await;
        let (store, recovery) = open(&config).await;
        assert_eq!((recovery.records, recovery.torn), (4, None));
        let bounds = store.bounds("T", QueueId(0)).unwrap();
        assert_eq!((bounds.min.0, bounds.max.0), (0, 22));
        for (offset, position) in [0, 10, 11, 21].into_iter().zip(positions) {
            let limits = ReadLimits::pull(1);
            let read = store.read("T", QueueId(0), QueueOffset(offset), &limits, &|_| true).await.unwrap();
            let record = store.record_at(position).unwrap().unwrap();
            assert_eq!(read.records, [record], "offset {offset}");
        }
        drop(store);
        remove(&dir);
    });
}

#[test]
fn what_an_earlier_end_of_another_brokers_log_left_is_cut() {
    run(async {
        let dir = scratch("stale");
        let config = Config::small(&dir);
        // Apache moves its end back without clearing what is behind: the last record is a day older than the one before.
        let positions = write_log(&config, &[(0, 86_500_000), (1, 86_500_001), (7, 100_000)]).await;
        let (store, recovery) = open(&config).await;
        assert_eq!(recovery.end, positions[2]);
        assert!(recovery.torn.is_some(), "{recovery:?}");
        assert_eq!(bodies(&store, "T", 0).await.len(), 2);
        drop(store);
        remove(&dir);
    });
}

#[test]
fn queue_files_of_another_size_are_refused_by_name() {
    run(async {
        let dir = scratch("queue-size");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        append(&store, &[sized("T", 0, 0, 200)]).await;
        store.shutdown().await.unwrap();
        let smaller = Config { queue_file_units: config.queue_file_units / 2, ..config };
        let Err(error) = Store::open(&env(), smaller).await else { panic!("it opened") };
        let said = error.to_string();
        assert!(said.contains("consumequeue/T/0/00000000000000000000 has 4000 bytes"), "{said}");
        assert!(said.contains("queue files of 2000"), "{said}");
        remove(&dir);
    });
}
