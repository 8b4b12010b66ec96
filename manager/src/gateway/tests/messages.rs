//! Messages that are none, or too long; and what stands in those of the manager.

use prost::bytes::BufMut as _;
use prost_types::value::Kind as Seen;
use prost_types::{ListValue, Struct, Value};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::super::MESSAGE_LIMIT;
use super::*;

/// Sends bytes as they are.
#[derive(Debug, Default, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(prost::bytes::Buf::copy_to_bytes(from, prost::bytes::Buf::remaining(from)).to_vec()))
    }
}

async fn attach_raw(
    place: &TestGateway,
    token: &str,
    messages: Vec<Vec<u8>>,
) -> Result<Streaming<Vec<u8>>, Status> {
    let mut client = tonic::client::Grpc::new(place.channel().await);
    client.ready().await.unwrap();
    let path = "/image_manager.v1.AgentGateway/Attach".parse().unwrap();
    let request = bearing(token, tokio_stream::iter(messages));
    Ok(client.streaming(request, path, Raw).await?.into_inner())
}

#[tokio::test]
async fn malformed_and_oversized_messages_end_their_own_stream_only() {
    use prost::Message as _;
    let place = TestGateway::new(|_| {}).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let honest = place.attach(token.expose(), "boot-1").await.unwrap();

    let (other, mut others) = place.session(vec![check("disk")]);
    for garbage in [b"\x0a\xff\xff\xff\xff\x0f".to_vec(), vec![0xff; 100], vec![0; MESSAGE_LIMIT + 1]] {
        let refused = attach_raw(&place, other.expose(), vec![garbage]).await;
        assert!(refused.is_err(), "no Hello, and it came in");
    }
    assert_eq!(place.log.count("did not send Hello"), 1);
    let mut agent = place.attach(other.expose(), "boot-1").await.unwrap();
    admit(&mut others).await;
    let summary = "x".repeat(MESSAGE_LIMIT);
    agent.say(agent_message::Kind::CheckResult(CheckResult { summary, ..passed("disk") })).await;
    while agent.hear().await.is_ok() {}
    let hello =
        message(agent_message::Kind::Hello(Hello { boot_id: "boot-1".to_owned(), ..Hello::default() }));
    let after_hello = vec![hello.encode_to_vec(), vec![0xff; 100]];
    let (third, mut thirds) = place.session(vec![check("disk")]);
    let mut heard = attach_raw(&place, third.expose(), after_hello).await.unwrap();
    admit(&mut thirds).await;
    while let Ok(Some(_)) = timeout(PATIENCE, heard.message()).await.unwrap() {}
    for session in [&mut others, &mut thirds] {
        assert!(matches!(next(session).await, AgentEvent::Detached { .. }));
    }
    honest.finish(&mut session).await;
    place.stop.cancel();
    place.wait_for_log("again: refused an agent: it did not send Hello times=2").await;
}

/// A result with these observations in a list.
fn observed(seen: Vec<Seen>) -> CheckResult {
    let values = seen.into_iter().map(|kind| Value { kind: Some(kind) }).collect();
    let list = Value { kind: Some(Seen::ListValue(ListValue { values })) };
    let observations = Struct { fields: [("seen".to_owned(), list)].into() };
    CheckResult { observations: Some(observations), ..passed("disk") }
}

#[tokio::test]
async fn results_that_no_honest_agent_has_end_its_stream() {
    use agent_message::Kind::{CheckResult, Report};
    let place = TestGateway::new(|_| {}).await;
    let long = || observed(vec![Seen::StringValue("x".repeat(33 << 10))]);
    let many = || observed(vec![Seen::NullValue(0); 2100]);
    let report = |results: Vec<v1::CheckResult>| Report(v1::Report { results });
    let endless = passed(&"x".repeat(1 << 19));
    for (said, wrong) in [
        (CheckResult(long()), "more observations"),
        (CheckResult(many()), "more observations"),
        (CheckResult(endless), "a result for the check"),
        (report(vec![long()]), "more observations"),
        (report(vec![many()]), "more observations"),
        (report(vec![passed("disk"), passed("disk")]), "several results for the check \"disk\""),
        (report(vec![passed("disk"), passed("dns")]), "\"dns\" that nobody asked for"),
        (report(vec![]), "without a result for the check \"disk\""),
    ] {
        let (token, mut session) = place.session(vec![check("disk")]);
        let agent = place.attach(token.expose(), "boot-1").await.unwrap();
        admit(&mut session).await;
        agent.say(said).await;
        let AgentEvent::Detached { why, .. } = next(&mut session).await else { panic!("taken: {wrong}") };
        assert!(why.contains("violated the protocol") && why.contains(wrong), "{wrong}: {why}");
        assert!(why.len() < 2048, "{} bytes", why.len());
    }
    // As much as an honest agent may send of one check.
    let (token, mut session) = place.session(vec![check("disk")]);
    let agent = place.attach(token.expose(), "boot-1").await.unwrap();
    admit(&mut session).await;
    for most in [vec![Seen::StringValue("x".repeat(18 << 10))], vec![Seen::NumberValue(0.5); 1536]] {
        agent.say(CheckResult(observed(most.clone()))).await;
        let AgentEvent::Result(result) = next(&mut session).await else { panic!("not taken") };
        assert_eq!(result, observed(most));
    }
}

/// The agent is there before the cloud has told the server's id.
#[tokio::test]
async fn a_server_that_becomes_known_is_named_in_every_check() {
    let place = TestGateway::new(|_| {}).await;
    let disk = v1::ServerFacts { disk_size_bytes: 7, ..v1::ServerFacts::default() };
    let known = CheckRequest { server: Some(disk), ..check("disk") };
    let (token, mut session) = place.session(vec![known, check("dns")]);
    let mut agent = place.attach(token.expose(), "boot-1").await.unwrap();
    let AgentEvent::Attached { admit, .. } = next(&mut session).await else { panic!("it did not attach") };
    session.tell_server("8c3b6f0e", "image-manager-1");
    admit.send(()).unwrap();
    let mut sizes = Vec::new();
    while sizes.len() < 2 {
        let manager_message::Kind::CheckRequest(check) = agent.hear().await.unwrap() else { continue };
        let server = check.server.unwrap();
        assert_eq!((server.id.as_str(), server.name.as_str()), ("8c3b6f0e", "image-manager-1"));
        sizes.push(server.disk_size_bytes);
    }
    assert_eq!(sizes, [7, 0]);
}
