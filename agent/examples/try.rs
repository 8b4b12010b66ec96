//! Temporary: plays manager for a booted image.
#[allow(dead_code)]
#[path = "../tests/gateway/mod.rs"]
mod gateway;
use image_manager_proto::v1::check_request::Settings;
use image_manager_proto::v1::*;
use std::time::Instant;
#[tokio::main]
async fn main() {
    let mut g = gateway::Gateway::start().await;
    let there = format!("10.0.2.2:{}", g.address.port()).parse().unwrap();
    std::fs::write(std::env::args().nth(1).unwrap(), gateway::meta_data(there, &g.fingerprint)).unwrap();
    println!("ready {}", g.address);
    let t = Instant::now();
    let (mut s, hello) = g.welcome(4).await;
    println!("{:?} {hello:?}", t.elapsed());
    for (name, settings) in [
        ("disk", Settings::Disk(DiskCheck::default())),
        ("dns", Settings::Dns(DnsCheck::default())),
        ("internet", Settings::Internet(InternetCheck::default())),
        ("cloud_init", Settings::CloudInit(CloudInitCheck::default())),
    ] {
        s.request(CheckRequest { name: name.into(), settings: Some(settings), timeout: Some(prost_types::Duration { seconds: 60, nanos: 0 }) }).await;
    }
    for _ in 0..4 {
        let r = s.result().await;
        println!("{:?} {} {:?} {}\n   {:?}", t.elapsed(), r.name, r.outcome(), r.summary, r.observations);
    }
    println!("{:?} report {}", t.elapsed(), s.report().await.results.len());
    println!("{:?}", s.accept().await);
    println!("{:?} end", t.elapsed());
}
