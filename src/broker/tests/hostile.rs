//! Strangers' bytes: whatever a connection sends, the broker stays up and other connections keep working.

use bytes::BufMut;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::Fixture;
use super::run;
use crate::broker::Broker;
use crate::broker::config::FlushDiskType;
use crate::protocol::code::ResponseCode;
use crate::protocol::frame;

/// What the broker must do with the connection that sent a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// Answer with an error, or not at all, and go on.
    Stay,
    /// Close it: where the next frame would begin is not known.
    Close,
}

use Must::Close;
use Must::Stay;

/// A frame with a JSON header.
fn json(header: &str, body: &[u8]) -> Vec<u8> {
    meta(0, header.as_bytes(), body)
}

/// A frame with a header of the given encoding.
fn meta(encoding: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32((4 + header.len() + body.len()) as u32);
    out.put_u32((u32::from(encoding) << 24) | header.len() as u32);
    out.put_slice(header);
    out.put_slice(body);
    out
}

/// A request of `code` with these ext fields, as JSON text.
fn request(code: i32, fields: &str, body: &[u8]) -> Vec<u8> {
    json(&format!(r#"{{"code":{code},"opaque":7,"flag":0,"version":493,"extFields":{{{fields}}}}}"#), body)
}

/// A V2 send whose fields are complete but for what `change` says.
fn send(change: &str, body: &[u8]) -> Vec<u8> {
    let fields = format!(
        r#""a":"g","b":"t","c":"TBW102","d":"4","e":"0","f":"0","g":"1","h":"0","i":"","j":"0","k":"false","m":"false"{change}"#
    );
    request(310, &fields, body)
}

/// Lengths and encodings that cannot be frames, and text that is no header.
fn malformed() -> Vec<(&'static str, Vec<u8>, Must)> {
    vec![
        ("nothing but zeros", vec![0; 64], Close),
        ("all ones", vec![0xff; 64], Close),
        ("a length beyond the limit", [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec(), Close),
        ("a length one above the limit", 16_777_217u32.to_be_bytes().to_vec(), Close),
        ("a negative length", [0x80, 0, 0, 0, 0, 0, 0, 0].to_vec(), Close),
        ("a length of three", [0, 0, 0, 3, 1, 2, 3].to_vec(), Close),
        ("a header longer than its frame", [0, 0, 0, 8, 0, 0, 0xff, 0xff, 1, 2, 3, 4].to_vec(), Close),
        ("an encoding nobody knows", meta(9, b"{}", b""), Close),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Close),
        ("a PROXY line", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n".to_vec(), Close),
        ("an HTTP request", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Close),
        ("a header that is no JSON", json("code=10", b""), Close),
        ("a header cut in its middle", json(r#"{"code":10,"opaq"#, b""), Close),
        ("a header that is an array", json("[1,2,3]", b""), Close),
        ("a header that is not UTF-8", meta(0, b"{\"code\":10,\"remark\":\"\xff\xfe\"", b""), Close),
        ("a code of words", json(r#"{"code":"ten"}"#, b""), Close),
        ("braces without end", json(&"{\"a\":".repeat(5_000), b""), Close),
        ("a binary header of one byte", meta(1, &[0], b""), Close),
        (
            "a binary header whose remark never ends",
            meta(1, &[0, 10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff], b""),
            Close,
        ),
        (
            "a binary header with a negative length, which Java reads as none",
            meta(1, &[0, 10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], b""),
            Stay,
        ),
    ]
}

/// Whole frames that ask for what cannot be.
fn senseless() -> Vec<(&'static str, Vec<u8>, Must)> {
    vec![
        ("a code nobody knows", request(32_100, "", b""), Stay),
        ("a negative code", request(-7, "", b""), Stay),
        ("a code of another server", request(1001, "", b""), Stay),
        ("a response nobody waits for", json(r#"{"code":0,"flag":1,"opaque":99}"#, b""), Stay),
        ("an empty header", json("{}", b""), Stay),
        ("a send without fields", request(310, "", b"x"), Stay),
        ("a send with a queue of words", send(r#","e":"first""#, b"x"), Stay),
        ("a send to a queue that is not there", send(r#","e":"4000000""#, b"x"), Stay),
        ("a send with a number beyond 32 bits", send(r#","e":"99999999999999999999""#, b"x"), Stay),
        ("a topic with a slash", send(r#","b":"../../etc/passwd""#, b"x"), Stay),
        ("a header beyond its limit", send(&format!(r#","b":"{}""#, "t".repeat(1 << 20)), b"x"), Close),
        ("a topic of a hundred kilobytes", send(&format!(r#","b":"{}""#, "t".repeat(100_000)), b"x"), Stay),
        (
            "properties beyond their limit",
            send(&format!(r#","i":"k\u0001{}\u0002""#, "v".repeat(40_000)), b"x"),
            Stay,
        ),
        ("a body beyond its limit", send("", &vec![7; 5 << 20]), Stay),
        ("a batch that is none", send(r#","m":"true""#, &[0xff; 40]), Stay),
        (
            "a batch item longer than its batch",
            send(
                r#","m":"true""#,
                &[0, 0, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
            ),
            Stay,
        ),
        (
            "a pull from a negative offset of a negative queue",
            request(
                11,
                r#""consumerGroup":"g","topic":"t","queueId":-1,"queueOffset":-5,"maxMsgNums":-1,"sysFlag":2147483647,"commitOffset":-9,"suspendTimeoutMillis":9223372036854775807"#,
                b"",
            ),
            Stay,
        ),
        ("a heartbeat of garbage", request(34, "", b"\x00\x01{{{{"), Stay),
        ("a heartbeat of nesting", request(34, "", "[".repeat(100_000).as_bytes()), Stay),
        ("a lock request of garbage", request(41, "", b"{\"mqSet\":17}"), Stay),
        (
            "an end of a transaction that never was",
            request(
                37,
                r#""producerGroup":"g","tranStateTableOffset":"9223372036854775807","commitLogOffset":"9223372036854775807","commitOrRollback":"8","msgId":"x""#,
                b"",
            ),
            Stay,
        ),
        (
            "a message sent back from nowhere",
            request(36, r#""offset":"123456789","group":"g","delayLevel":"2147483647""#, b""),
            Stay,
        ),
        ("a look-up beyond the log", request(33, r#""offset":"-1""#, b""), Stay),
        (
            "a topic without queues",
            request(
                17,
                r#""topic":"t","defaultTopic":"TBW102","readQueueNums":"-4","writeQueueNums":"2147483647","perm":"-1","topicFilterType":"X","topicSysFlag":"0","order":"false""#,
                b"",
            ),
            Stay,
        ),
        ("a group without a name", request(200, "", b"{}"), Stay),
    ]
}

#[test]
fn hostile_frames_do_not_take_the_broker_down_nor_disturb_others() {
    run("hostile", FlushDiskType::Async, |fixture| async move {
        let broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        let cases: Vec<_> = malformed().into_iter().chain(senseless()).collect();
        assert!(cases.len() >= 40, "the table has forty rows");
        for (name, bytes, must) in cases {
            let closed = speak(&fixture, &broker, &bytes).await;
            assert_eq!(
                closed,
                must == Close,
                "{name}: the connection {}",
                if closed { "was closed" } else { "stays" }
            );
            let sent = fixture.send("orders", "", b"fine").await;
            assert_eq!(
                sent.header.response_code(),
                Some(ResponseCode::Success),
                "{name}: others keep working"
            );
        }
        // Every prefix of a good frame, cut off by the end of the connection.
        let whole = send("", b"a body");
        for cut in 0..whole.len() {
            let mut stream = fixture.env.net.connect(broker.local_addr()).await.expect("connected");
            stream.write_all(&whole[..cut]).await.expect("written");
            drop(stream);
        }
        let sent = fixture.send("orders", "", b"fine").await;
        assert_eq!(sent.header.response_code(), Some(ResponseCode::Success));
    });
}

/// Sends `bytes`, then asks something harmless on the same connection. True if the broker closed it instead.
async fn speak(fixture: &Fixture, broker: &Broker, bytes: &[u8]) -> bool {
    let mut stream = fixture.env.net.connect(broker.local_addr()).await.expect("connected");
    if stream.write_all(bytes).await.is_err() {
        return true;
    }
    let probe = json(r#"{"code":38,"opaque":4242,"extFields":{"consumerGroup":"nobody"}}"#, b"");
    if stream.write_all(&probe).await.is_err() {
        return true;
    }
    let mut input = BytesMut::new();
    loop {
        match stream.read_buf(&mut input).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
        while let Some(answer) = frame::cut(&mut input, 1 << 24).expect("the broker's own frames are whole") {
            if answer.header.opaque == 4242 {
                return false;
            }
            assert_ne!(
                answer.header.response_code(),
                Some(ResponseCode::Success),
                "nothing hostile succeeds"
            );
        }
    }
}
