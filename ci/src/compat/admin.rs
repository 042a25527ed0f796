//! Apache's own `mqadmin`, unchanged, against the servers under test: each command is judged by what it prints and by what
//! the servers then do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::driver::Driver;
use super::install::Installed;
use super::record::{Fault, output};
use super::scenario::refuses;
use super::stage::{CheckError, Checked, PATIENCE, java};
use super::wire::Wire;

/// A running mqadmin and the servers it talks to.
pub(crate) struct Admin {
    driver: Driver,
    namesrv: SocketAddr,
    broker: SocketAddr,
    /// Commands run so far: each has an id of its own.
    runs: AtomicU64,
}

impl Admin {
    /// Starts the JVM that runs the commands.
    pub(crate) fn start(
        installed: &Installed,
        namesrv: SocketAddr,
        broker: SocketAddr,
        dir: &Path,
    ) -> Result<Self, CheckError> {
        let home = dir.join("home/mqadmin");
        std::fs::create_dir_all(&home)?;
        let driver = Driver::start("mqadmin", java(&installed.java_5, &home, "Admin"), dir)?;
        Ok(Self { driver, namesrv, broker, runs: AtomicU64::new(0) })
    }

    /// Runs one command against the name server and returns all it printed.
    fn run(&self, command: &str) -> Result<String, CheckError> {
        self.run_at(self.namesrv, command)
    }

    fn run_at(&self, namesrv: SocketAddr, command: &str) -> Result<String, CheckError> {
        let id = format!("run{}", self.runs.fetch_add(1, Ordering::Relaxed));
        self.driver.tell(&format!("{id} {command} -n {namesrv}"))?;
        self.driver.wait(&id, "ran", 1, PATIENCE)?;
        Ok(self.driver.events(&id, "ran")?.pop().map(|event| event.body).unwrap_or_default())
    }

    /// clusterList and brokerStatus: the broker is there, under its name and address, alive.
    pub(crate) fn cluster(&self) -> Checked {
        let broker = self.broker.to_string();
        let list = self.run("clusterList")?;
        let must = ["#Cluster Name", "#ACTIVATED", "DefaultCluster", "broker-a", &broker, "true"];
        output(&list, &must, &["Exception"])?;
        refuses("another address", output(&list, &["127.0.0.1:1 "], &[]))?;
        let status = self.run(&format!("brokerStatus -b {broker}"))?;
        let keys = ["bootTimestamp", "brokerActive", "brokerVersionDesc", "commitLogMaxOffset", "putTps"];
        output(&status, &[&keys[..], &["msgPutTotalTodayNow", "runtime"]].concat(), &["Exception"])?;
        let stored = column(&status, "commitLogMaxOffset", 2);
        positive("commitLogMaxOffset", stored)?;
        Ok(format!("broker-a at {broker} is listed; its status tells {} keys", status.lines().count()))
    }

    /// updateTopic, topicRoute, topicList, deleteTopic: a topic comes with its five queues and goes.
    pub(crate) fn topics(&self) -> Checked {
        let created = self.run("updateTopic -c DefaultCluster -t admin_topic -r 5 -w 5")?;
        output(&created, &[&format!("create topic to {} success.", self.broker)], &["Exception"])?;
        let route = self.run("topicRoute -t admin_topic")?;
        let must =
            ["\"readQueueNums\":5", "\"writeQueueNums\":5", "\"perm\":6", "\"brokerName\":\"broker-a\""];
        output(&route, &must, &["Exception"])?;
        refuses("another queue count", output(&route, &["\"readQueueNums\":4"], &[]))?;
        let list = self.run("topicList")?;
        output(&list, &["admin_topic", "TBW102", "sync_"], &["Exception"])?;
        let mut broker = Wire::connect(self.broker)?;
        let first = broker.send("admin_topic", 4, b"kept")?;
        value("the first offset of a created topic", first.number("queueOffset"), 0)?;
        let gone = self.run("deleteTopic -c DefaultCluster -t admin_topic")?;
        let must = ["delete topic [admin_topic] from cluster", "delete topic [admin_topic] from NameServer"];
        output(&gone, &must, &["Exception"])?;
        let route = self.run("topicRoute -t admin_topic")?;
        output(&route, &["CODE: 17"], &["\"readQueueNums\""])?;
        output(&self.run("topicList")?, &["TBW102"], &["admin_topic"])?;
        Ok("created with 5 queues, routed, listed, written to, deleted, gone".to_owned())
    }

    /// topicStatus and consumerProgress of a topic and group whose counts are known: `count` messages, all consumed.
    pub(crate) fn progress(&self, topic: &str, group: &str, count: i64) -> Checked {
        let status = self.run(&format!("topicStatus -t {topic}"))?;
        output(&status, &["#Broker Name", "#Min Offset", "#Max Offset", "#Last Updated"], &["Exception"])?;
        let stored: i64 =
            status.lines().filter(|line| line.starts_with("broker-a")).map(|line| word(line, 3)).sum();
        value("the sum of maximal offsets", Some(stored), count)?;
        refuses(
            "another count",
            value("the sum of maximal offsets", Some(stored), count + 1).map_err(fault),
        )?;
        let command = format!("consumerProgress -g {group}");
        // Consumers commit every five seconds, so the backlog reaches zero a little later than the last message.
        let mut progress = String::new();
        super::stage::until("a backlog of zero", || {
            super::clock::nap(Duration::from_millis(500));
            progress = self.run(&command)?;
            Ok(progress.contains("Consume Diff Total: 0"))
        })?;
        let must = ["#Topic", "#Broker Offset", "#Consumer Offset", "#Diff", "Consume TPS:", topic];
        output(&progress, &must, &["Exception"])?;
        let of_topic = || progress.lines().filter(|line| line.split_whitespace().next() == Some(topic));
        value("the consumed offsets", Some(of_topic().map(|line| word(line, 4)).sum()), count)?;
        Ok(format!("{topic}: {count} stored, {group}: {count} consumed, nothing left"))
    }

    /// updateSubGroup: the group exists afterwards with the limit it was given.
    pub(crate) fn groups(&self) -> Checked {
        let made = self.run("updateSubGroup -c DefaultCluster -g admin_group -r 7")?;
        output(&made, &[&format!("create subscription group to {} success.", self.broker)], &["Exception"])?;
        let all = Wire::connect(self.broker)?.groups()?;
        output(&all, &["\"admin_group\""], &[])?;
        let of_group = all.split("\"groupName\":\"admin_group\"").nth(1).unwrap_or_default();
        let times = of_group.split("\"retryMaxTimes\":").nth(1).unwrap_or_default();
        output(times.get(..2).unwrap_or_default(), &["7"], &[])?;
        Ok("admin_group exists and retries 7 times".to_owned())
    }

    /// queryMsgByKey, queryMsgById, queryMsgByUniqueKey: three messages, found by what they are called.
    pub(crate) fn look_up(&self) -> Checked {
        let made = self.run("updateTopic -c DefaultCluster -t admin_keys -r 1 -w 1")?;
        output(&made, &[&format!("create topic to {} success.", self.broker)], &["Exception"])?;
        let mut broker = Wire::connect(self.broker)?;
        let mut ids = Vec::new();
        for (n, (id, keys)) in KEYED.iter().enumerate() {
            let properties = format!("UNIQ_KEY\u{1}{id}\u{2}KEYS\u{1}{keys}\u{2}TAGS\u{1}Tag{n}\u{2}");
            let sent = broker.send_with("admin_keys", 0, &properties, format!("keyed-{n}").as_bytes())?;
            value("the queue offset of a keyed message", sent.number("queueOffset"), n as i64)?;
            ids.push(sent.fields.get("msgId").and_then(|id| id.as_str()).unwrap_or_default().to_owned());
        }
        // Apache indexes a little later than it stores.
        super::stage::until("the last keyed message by its key", || {
            Ok(self.run("queryMsgByKey -t admin_keys -k order-9")?.contains(KEYED[2].0))
        })?;
        self.keyed()?;
        let nothing = self.run("queryMsgByKey -t admin_keys -k order-1")?;
        output(&nothing, &["CODE: 208"], &[KEYED[0].0, KEYED[1].0, KEYED[2].0])?;
        let past = self.run("queryMsgByKey -t admin_keys -k order-8 -b 0 -e 1000")?;
        output(&past, &["CODE: 208"], &[KEYED[0].0, KEYED[1].0])?;
        let youngest = self.run("queryMsgByKey -t admin_keys -k order-8 -m 1")?;
        output(&youngest, &[KEYED[1].0], &[KEYED[0].0])?;
        for (n, id) in ids.iter().enumerate() {
            let shown = self.run(&format!("queryMsgById -t admin_keys -i {id} -f UTF-8"))?;
            let (offset, body) = (format!("Queue Offset: {n}"), format!("Message Body: keyed-{n}"));
            let keys = format!("Keys: [{}]", KEYED[n].1);
            output(&squeezed(&shown), &["Topic: admin_keys", &keys, &offset, &body], &["Exception"])?;
            refuses("another body", output(&squeezed(&shown), &["Message Body: keyed-9"], &[]))?;
        }
        Ok(format!("{} messages found by key, by id and by unique id, and nothing else", KEYED.len()))
    }

    /// What is still true of [`Admin::look_up`]'s messages after a restart.
    pub(crate) fn keyed(&self) -> Checked {
        let both = self.run("queryMsgByKey -t admin_keys -k order-8")?;
        output(&both, &["#Message ID", KEYED[0].0, KEYED[1].0], &[KEYED[2].0, "Exception"])?;
        value("the offset of the second", Some(column(&both, KEYED[1].0, 2)), 1)?;
        refuses("the third", output(&both, &[KEYED[2].0], &[]))?;
        for (n, (id, keys)) in KEYED.iter().enumerate() {
            let shown = squeezed(&self.run(&format!("queryMsgByUniqueKey -t admin_keys -i {id}"))?);
            let (keys, tag) = (format!("Keys: [{keys}]"), format!("Tags: [Tag{n}]"));
            let must = ["Topic: admin_keys", &keys, &tag, &format!("Queue Offset: {n}"), id];
            output(&shown, &must, &["Exception"])?;
        }
        Ok("found again".to_owned())
    }

    /// Negative control, live: the same command against a port where nobody listens must not pass.
    pub(crate) fn closed_port(&self) -> Checked {
        let nobody: SocketAddr = ([127, 0, 0, 1], 1).into();
        let printed = self.run_at(nobody, "clusterList")?;
        refuses("no server at all", output(&printed, &["DefaultCluster"], &[]))?;
        output(&printed, &["connect to"], &[])?;
        Ok("clusterList against a closed port is refused".to_owned())
    }
}

/// Unique id and keys of the messages that are looked up.
const KEYED: [(&str, &str); 3] = [
    ("7F0000010A0418B4AAC2170A0CFE0000", "order-7 order-8"),
    ("7F0000010A0418B4AAC2170A0CFE0001", "order-8"),
    ("7F0000010A0418B4AAC2170A0CFE0002", "order-9"),
];

/// One blank where there are several: mqadmin aligns what it prints.
fn squeezed(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// Word `at` of a line, as a number.
fn word(line: &str, at: usize) -> i64 {
    line.split_whitespace().nth(at).and_then(|word| word.parse().ok()).unwrap_or(-1)
}

/// Word `at` of the line that starts with `key`, as a number.
fn column(text: &str, key: &str, at: usize) -> i64 {
    text.lines().find(|line| line.starts_with(key)).map_or(-1, |line| word(line, at))
}

fn positive(what: &'static str, is: i64) -> Result<(), CheckError> {
    if is > 0 { Ok(()) } else { Err(Fault::Value { what, is, due: 1 }.into()) }
}

fn value(what: &'static str, is: Option<i64>, due: i64) -> Result<(), CheckError> {
    let is = is.unwrap_or(-1);
    if is == due { Ok(()) } else { Err(Fault::Value { what, is, due }.into()) }
}

fn fault(error: CheckError) -> Fault {
    match error {
        CheckError::Fault(fault) => fault,
        other => Fault::OutputLacks(other.to_string()),
    }
}
