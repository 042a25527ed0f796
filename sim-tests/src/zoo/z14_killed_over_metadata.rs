//! Z14, NATS #6888 and Pulsar #22709: a process is killed between the write of its metadata and their rename.

use std::path::Path;

use bytes::Bytes;
use staticfire::env::Env;
use staticfire::sim::Crash;
use staticfire::sim::Outcome;
use staticfire::store::config_file;
use staticfire::store::planted;

use super::directed;
use super::simulate;

async fn load(env: &Env) -> Option<String> {
    let parse = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok("") => Err("it is empty".to_owned()),
        text => text.map(str::to_owned).map_err(|error| error.to_string()),
    };
    config_file::load(env, Path::new("config/topics.json"), parse)
        .await
        .expect("the file or its backup is whole")
}

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        let path = Path::new("config/topics.json");
        let save = async |content: &'static str| {
            config_file::save(&node.env(), path, Bytes::from_static(content.as_bytes())).await
        };
        save("one topic").await.expect("a healthy disk");
        node.crash_at("config_file.created", 1, Crash::Process);
        save("two topics").await.expect_err("the process was to die over it");
        node.restart();
        assert_eq!(load(&node.env()).await.as_deref(), Some("one topic"));
        save("three topics").await.expect("a healthy disk");
        node.os_crash();
        node.restart();
        assert_eq!(load(&node.env()).await.as_deref(), Some("three topics"));
    })
}

#[test]
fn a_kill_over_a_small_file_leaves_the_old_content() {
    directed(story, planted::REPLACE_IN_PLACE);
}
