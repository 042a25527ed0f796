//! What operators ask of a client through its broker, and what happens when a name server does not answer.

use std::sync::Arc;

use bytes::Bytes;
use staticfire::client::Client;
use staticfire::client::ConsumeFrom;
use staticfire::client::ConsumeResult;
use staticfire::client::PushConsumer;
use staticfire::protocol::Ext;
use staticfire::protocol::Frame;
use staticfire::protocol::Header;
use staticfire::protocol::RequestCode;
use staticfire::protocol::ResponseCode;
use staticfire::protocol::body::Body;
use staticfire::protocol::body::DirectResult;
use staticfire::protocol::body::running::ConsumeMessageDirectlyResult;
use staticfire::protocol::body::running::ConsumerRunningInfo;
use staticfire::remoting;
use staticfire::remoting::Connection;
use staticfire::remoting::Replies;

use crate::fixture::Cluster;
use crate::fixture::Seen;
use crate::fixture::numbered;
use crate::fixture::numbers;
use crate::fixture::run;
use crate::fixture::until;

/// An operator's tool: asks, and is asked nothing.
struct Tool;

impl remoting::Serve for Tool {
    fn open(&self, _: &Arc<Connection>) -> Box<dyn remoting::Session> {
        Box::new(Tool)
    }
}

impl remoting::Session for Tool {
    fn on_frame(&mut self, frame: Frame, _: &mut Replies) {
        panic!("nobody asks a tool: {frame:?}");
    }
}

async fn ask(cluster: &Cluster, code: RequestCode, fields: &[(&str, &str)]) -> Frame {
    let tool = remoting::Client::new(&cluster.env, remoting::Limits::default(), Arc::new(Tool));
    let mut header = Header::request(code);
    header.ext = fields.iter().copied().collect::<Ext>();
    let addr = format!("127.0.0.1:{}", cluster.config.listen_port);
    let answer = tool.call(&addr, header, Bytes::new(), 10_000).await.expect("the broker answers");
    let words = answer.header.remark_text();
    assert_eq!(answer.header.response_code(), Some(ResponseCode::Success), "{code}: {words}");
    answer
}

async fn consumer(client: &Client, seen: &Seen) -> PushConsumer {
    let seen = seen.clone();
    let builder = client.push_consumer("G").subscribe("Asked", "*").consume_from(ConsumeFrom::First);
    let builder = builder.suspend_ms(500).persist_ms(50).handler(move |messages| {
        let seen = seen.clone();
        async move {
            seen.note_bodies(&messages);
            ConsumeResult::Done
        }
    });
    builder.start().await.expect("a consumer starts")
}

#[test]
fn a_reset_offset_makes_messages_come_again() {
    run(
        "reset",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            for number in 0..5 {
                producer.send_to(numbered("Asked", number), |_| 0).await.expect("it is stored");
            }
            let seen = Seen::new(&cluster.env);
            let consumer = consumer(&client, &seen).await;
            seen.wait_for(5).await;
            let fields = [
                ("topic", "Asked"),
                ("group", "G"),
                ("timestamp", "0"),
                ("isForce", "true"),
                ("queueId", "-1"),
            ];
            ask(&cluster, RequestCode::InvokeBrokerToResetOffset, &fields).await;
            seen.wait_for(10).await;
            assert_eq!(seen.list()[5..], numbers(0..5), "from the beginning again, in order");
            consumer.stop().await;
            assert_eq!(seen.list().len(), 10);
        },
    );
}

#[test]
fn a_consumer_tells_about_itself_and_takes_a_message_by_hand() {
    run(
        "by-hand",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            let receipt = producer.send(numbered("Asked", 7)).await.expect("it is stored");
            let seen = Seen::new(&cluster.env);
            let consumer = consumer(&client, &seen).await;
            seen.wait_for(1).await;
            until(&cluster.env, "it has its queues", || consumer.queues().len() >= 4).await;
            let fields = [("consumerGroup", "G"), ("clientId", client.id())];
            let info = ask(&cluster, RequestCode::GetConsumerRunningInfo, &fields).await;
            let info = ConsumerRunningInfo::decode(&info.body).expect("running info");
            assert_eq!(info.properties["PROP_CONSUMEORDERLY"], "false");
            assert!(info.mq_table.len() >= 4 && info.subscription_set.len() == 2, "{info:?}");
            let fields = [
                fields[0],
                fields[1],
                ("msgId", &*receipt.offset_message_id),
                ("brokerName", "broker-a"),
                ("topic", "Asked"),
            ];
            let result = ask(&cluster, RequestCode::ConsumeMessageDirectly, &fields).await;
            let result = ConsumeMessageDirectlyResult::decode(&result.body).expect("a result");
            assert_eq!((result.consume_result, result.order), (DirectResult::Success, false));
            assert_eq!(seen.list(), ["0007", "0007"]);
            consumer.stop().await;
        },
    );
}

#[test]
fn a_dead_name_server_is_passed_over() {
    run(
        "dead-name-server",
        |_| {},
        |cluster| async move {
            for order in ["127.0.0.1:1;{}", "{};127.0.0.1:1"] {
                let addrs = order.replace("{}", &cluster.name_server());
                let client =
                    Client::builder(&cluster.env).name_server(&addrs).start().await.expect("it starts");
                let producer = cluster.producer(&client, "P").await;
                producer.send(numbered("Asked", 1)).await.expect("it is stored");
            }
        },
    );
}
