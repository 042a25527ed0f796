//! Every way a disk fails: that it bites, as its probe says, and what a process sees of it.

use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;

use super::simulate;
use crate::env::Access;
use crate::env::Env;
use crate::env::File;
use crate::sim::Damage;
use crate::sim::Node;
use crate::sim::World;
use crate::sim::disk::DiskFaults;
use crate::sim::disk::Survival;

const ALWAYS: u32 = 1_000_000;

/// Runs a story on a machine with these faults, and says whether the probe counted.
fn bites<F, Fut>(probe: &'static str, faults: fn(&mut DiskFaults), story: F)
where
    F: FnOnce(World, Node, Env) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    simulate(7, move |world| async move {
        let node = world.machine("a");
        let env = node.env();
        node.disk().with_faults(faults);
        story(world.clone(), node, env).await;
        assert!(world.probes().contains_key(probe), "{probe} did not bite: {:?}", world.probes());
    });
}

async fn create(env: &Env) -> std::sync::Arc<dyn File> {
    env.disk.open(Path::new("f"), Access::Create).await.expect("creates")
}

async fn write(file: &dyn File, offset: u64, byte: u8, len: usize) -> Result<(), ErrorKind> {
    file.write_at(offset, Bytes::from(vec![byte; len])).await.map_err(|error| error.kind())
}

async fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    file.read_at(offset, len).await.expect("reads").to_vec()
}

/// A file of `old` that is durable, then `new` written over it and not synced, then a loss of power.
async fn overwritten_and_lost(node: &Node, old: usize, new: usize) -> Option<Vec<u8>> {
    let env = node.env();
    let file = create(&env).await;
    write(&*file, 0, 1, old).await.expect("writes");
    file.sync().await.expect("syncs");
    env.disk.sync_dir(Path::new("")).await.expect("syncs");
    write(&*file, 0, 2, new).await.expect("writes");
    node.os_crash();
    node.restart();
    node.disk().image().read("f")
}

#[test]
fn a_byte_rots_where_it_was_asked_to_and_stays_rotten() {
    simulate(7, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let file = create(&env).await;
        write(&*file, 0, 1, 9_000).await.expect("writes");
        file.sync().await.expect("syncs");
        env.disk.sync_dir(Path::new("")).await.expect("syncs");
        assert_eq!(node.disk().rot_at("f", 9_000), None, "behind the end");
        assert_eq!(node.disk().rot_at("g", 0), None, "no such file");
        let entry = node.disk().rot_at("f", 5_000).expect("rots");
        let damage = &world.ledger()[entry].damage;
        assert!(matches!(damage, Damage::Rot { path, offset: 5_000, len: 1 } if path == "f"), "{damage:?}");
        let strange = |bytes: &[u8]| {
            bytes.iter().enumerate().filter(|(_, byte)| **byte != 1).map(|(at, _)| at).collect()
        };
        let cached: Vec<usize> = strange(&read(&*file, 0, 9_000).await);
        node.os_crash();
        let durable: Vec<usize> = strange(&node.disk().image().read("f").expect("is there"));
        assert_eq!((cached, durable), (vec![5_000], vec![5_000]));
    });
}

#[test]
fn reads_writes_and_opens_fail_once_or_for_ever() {
    bites(
        "disk.read_error",
        |faults| faults.read_error = ALWAYS,
        async |_, node, env| {
            let file = create(&env).await;
            write(&*file, 0, 1, 10).await.expect("writes");
            assert!(file.read_at(0, 10).await.is_err());
            node.disk().with_faults(|faults| faults.read_error = 0);
            assert_eq!(read(&*file, 0, 10).await, [1; 10], "a sector that could not be read once");
        },
    );
    bites(
        "disk.write_error",
        |faults| faults.write_error = ALWAYS,
        async |_, _, env| {
            let file = create(&env).await;
            assert!(write(&*file, 0, 1, 10).await.is_err());
            assert_eq!(file.len().await.expect("a length"), 0);
        },
    );
    bites(
        "disk.open_error",
        |faults| faults.open_error = ALWAYS,
        async |_, _, env| {
            let error =
                env.disk.open(Path::new("f"), Access::Create).await.map(|_| ()).expect_err("too many files");
            assert_eq!(error.raw_os_error(), Some(24), "EMFILE");
        },
    );
    bites(
        "disk.dir_sync_error",
        |faults| faults.dir_sync_error = ALWAYS,
        async |_, node, env| {
            create(&env).await;
            assert!(env.disk.sync_dir(Path::new("")).await.is_err());
            node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
            node.os_crash();
            assert_eq!(node.disk().image().files(), []);
        },
    );
    bites(
        "disk.unreadable_read",
        |_| {},
        async |_, node, env| {
            let file = create(&env).await;
            write(&*file, 0, 1, 10).await.expect("writes");
            assert!(node.disk().make_unreadable());
            for _ in 0..3 {
                assert!(file.read_at(0, 10).await.is_err(), "a bad sector stays bad until it is written");
            }
        },
    );
}

#[test]
fn a_disk_that_became_read_only_takes_no_change_of_any_kind() {
    bites(
        "disk.read_only",
        |_| {},
        async |_, node, env| {
            let file = create(&env).await;
            write(&*file, 0, 1, 10).await.expect("writes");
            node.disk().with_faults(|faults| faults.read_only = true);
            let refused = Err(ErrorKind::ReadOnlyFilesystem);
            let kind = |result: std::io::Result<()>| result.map_err(|error| error.kind());
            assert_eq!(write(&*file, 0, 2, 10).await, refused);
            assert_eq!(kind(file.set_len(3).await), refused);
            let disk = &env.disk;
            assert_eq!(kind(disk.open(Path::new("g"), Access::Create).await.map(|_| ())), refused);
            assert_eq!(kind(disk.map(Path::new("f"), 4_096, Access::Write).await.map(|_| ())), refused);
            assert_eq!(kind(disk.rename(Path::new("f"), Path::new("g")).await), refused);
            assert_eq!(kind(disk.remove(Path::new("f")).await), refused);
            assert_eq!(kind(disk.create_dir_all(Path::new("d")).await), refused);
            assert_eq!(read(&*file, 0, 10).await, [1; 10], "reads go on");
        },
    );
}

#[test]
fn io_that_is_lost_astray_or_stale_says_ok() {
    bites(
        "disk.lost_write",
        |faults| faults.lost_write = ALWAYS,
        async |_, _, env| {
            let file = create(&env).await;
            write(&*file, 0, 1, 10).await.expect("says ok");
            assert_eq!(read(&*file, 0, 10).await, [0; 10]);
        },
    );
    bites(
        "disk.misdirected_write",
        |_| {},
        async |_, node, env| {
            let file = create(&env).await;
            write(&*file, 0, 1, 8_192).await.expect("writes");
            node.disk().with_faults(|faults| faults.misdirected_write = ALWAYS);
            write(&*file, 0, 2, 10).await.expect("says ok");
            assert_eq!(
                (read(&*file, 0, 10).await, read(&*file, 4_096, 10).await),
                (vec![1; 10], vec![2; 10])
            );
        },
    );
    bites(
        "disk.stale_read",
        |faults| faults.early_write_back = 0,
        async |_, node, env| {
            let file = create(&env).await;
            write(&*file, 0, 1, 10).await.expect("writes");
            file.sync().await.expect("syncs");
            write(&*file, 0, 2, 10).await.expect("writes");
            node.disk().with_faults(|faults| faults.stale_read = ALWAYS);
            assert_eq!(read(&*file, 0, 10).await, [1; 10]);
            node.disk().with_faults(|faults| faults.stale_read = 0);
            assert_eq!(read(&*file, 0, 10).await, [2; 10]);
        },
    );
    bites(
        "disk.lying_dir_sync",
        |faults| faults.lying_sync = ALWAYS,
        async |_, node, env| {
            create(&env).await;
            env.disk.sync_dir(Path::new("")).await.expect("a lie");
            node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
            node.os_crash();
            assert_eq!(node.disk().image().files(), []);
        },
    );
}

#[test]
fn the_kernel_writes_back_what_nobody_synced() {
    let always_back = |faults: &mut DiskFaults| {
        faults.early_write_back = ALWAYS;
        faults.survival = Survival::Nothing;
    };
    bites("disk.early_write_back", always_back, async |_, node, _| {
        // One of four pages, drawn.
        let found = overwritten_and_lost(&node, 4 * 4_096, 4 * 4_096).await.expect("the file is durable");
        let written_back = found.chunks(4_096).filter(|page| page.iter().all(|byte| *byte == 2)).count();
        assert_eq!(written_back, 1, "durable without a sync");
    });
}

#[test]
fn a_slow_disk_a_stalled_one_and_one_that_hangs_take_their_time() {
    bites(
        "disk.throughput_collapsed",
        |faults| faults.ns_per_kib = 1_000_000_000,
        async |world, _, env| {
            let file = create(&env).await;
            let before = world.now();
            write(&*file, 0, 1, 5 * 1024).await.expect("writes");
            assert!(world.now() - before >= std::time::Duration::from_secs(5));
        },
    );
    bites(
        "disk.call_stalled",
        |_| {},
        async |world, node, env| {
            let before = world.now();
            node.disk().stall(2_000_000_000);
            create(&env).await;
            assert!(world.now() - before >= std::time::Duration::from_secs(2));
        },
    );
    bites(
        "disk.call_hangs",
        |_| {},
        async |_, node, env| {
            node.disk().stall(u64::MAX);
            assert!(env.timeout_ms(600_000, create(&env)).await.is_none());
        },
    );
}

#[test]
fn a_full_disk_keeps_the_part_of_a_record_that_fits() {
    bites(
        "disk.full_mid_record",
        |faults| faults.capacity = 1_000,
        async |_, _, env| {
            let file = create(&env).await;
            assert_eq!(write(&*file, 0, 1, 3_000).await, Err(ErrorKind::StorageFull));
            assert_eq!(read(&*file, 0, 3_000).await, vec![1; 1_000]);
        },
    );
}

#[test]
fn a_loss_of_power_loses_pages_names_renames_lengths_or_only_what_is_in_them() {
    bites(
        "disk.pages_lost",
        |faults| faults.survival = Survival::Nothing,
        async |_, node, _| {
            assert_eq!(overwritten_and_lost(&node, 9_000, 9_000).await, Some(vec![1; 9_000]));
        },
    );
    bites(
        "disk.pages_torn",
        |faults| faults.survival = Survival::Torn,
        async |_, node, _| {
            let found = overwritten_and_lost(&node, 40_960, 40_960).await.expect("its name is durable");
            assert!(found.contains(&1) && found.contains(&2));
            assert!(found.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        },
    );
    bites(
        "disk.pages_garbled",
        |faults| faults.survival = Survival::Garbled,
        async |_, node, _| {
            let found = overwritten_and_lost(&node, 40_960, 40_960).await.expect("its name is durable");
            assert!(found.iter().any(|byte| !matches!(byte, 1 | 2)));
        },
    );
    bites(
        "disk.lengths_cut",
        |faults| faults.survival = Survival::Nothing,
        async |_, node, _| {
            assert_eq!(overwritten_and_lost(&node, 100, 9_000).await, Some(vec![1; 100]));
        },
    );
    let hollow = |faults: &mut DiskFaults| {
        faults.survival = Survival::Hollow;
        faults.early_write_back = 0;
    };
    bites("disk.files_hollow", hollow, async |_, node, _| {
        let mut hollow = vec![1; 100];
        hollow.resize(9_000, 0);
        assert_eq!(overwritten_and_lost(&node, 100, 9_000).await, Some(hollow));
    });
    let nameless = |faults: &mut DiskFaults| faults.survival = Survival::Nameless;
    bites("disk.names_lost", nameless, async |_, node, env| {
        let file = create(&env).await;
        file.sync().await.expect("syncs");
        node.os_crash();
        assert_eq!(node.disk().image().files(), [], "synced, and not to be found");
    });
    bites("disk.renames_lost", nameless, async |_, node, _| {
        overwritten_and_lost(&node, 10, 10).await;
        let env = node.env();
        env.disk.rename(Path::new("f"), Path::new("g")).await.expect("renames");
        node.os_crash();
        assert_eq!(node.disk().image().files(), [("f".to_owned(), 10)]);
    });
}
