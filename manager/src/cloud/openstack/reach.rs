//! The address under which servers of a cloud reach this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::cloud::{CloudError, Trouble};

const RESOLVING: Duration = Duration::from_secs(10);

/// What the gateway listens on when that is one address; else the address of this host on the way to the
/// cloud's API, which its servers can reach in most clouds.
pub(super) async fn endpoint(gateway: SocketAddr, api: &Url) -> Result<String, CloudError> {
    let unusable = |why: String| {
        let message = format!(
            "{why}: give --agent-endpoint IP:{} with the address at which servers reach this host",
            gateway.port()
        );
        Err(CloudError::new(Trouble::Configuration, message))
    };
    if gateway.ip().is_loopback() {
        return unusable(format!("servers cannot reach a gateway on {}", gateway.ip()));
    }
    if !gateway.ip().is_unspecified() {
        return Ok(gateway.to_string());
    }
    match towards(api).await? {
        ip if ip.is_loopback() => unusable(format!(
            "the cloud's API at {api} is on this host itself, which does not show how its servers reach it"
        )),
        ip => Ok(SocketAddr::new(ip, gateway.port()).to_string()),
    }
}

/// This host's address on the way to another; asks the kernel's routes and sends nothing.
async fn towards(api: &Url) -> Result<IpAddr, CloudError> {
    let host = api.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let failed =
        |why: String| CloudError::new(Trouble::Unavailable, format!("finding the route to {host}: {why}"));
    let port = api.port_or_known_default().unwrap_or(443);
    let found = timeout(RESOLVING, lookup_host((host.as_str(), port))).await;
    let found = found.map_err(|_| failed("its name does not resolve in time".to_owned()))?;
    let target = found.map_err(|error| failed(error.to_string()))?.next();
    let target = target.ok_or_else(|| failed("its name has no address".to_owned()))?;
    let any =
        if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let ask = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(target).await?;
        socket.local_addr()
    };
    ask.await.map(|address| address.ip()).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_is_nobodys_address() {
        let url = |text: &str| Url::parse(text).unwrap();
        let any: SocketAddr = "0.0.0.0:50051".parse().unwrap();
        for (gateway, api) in
            [(any, "http://127.0.0.1:5000"), ("127.0.0.1:7".parse().unwrap(), "http://192.0.2.1")]
        {
            let error = endpoint(gateway, &url(api)).await.unwrap_err();
            assert_eq!(error.trouble, Trouble::Configuration);
            assert!(error.message.contains("--agent-endpoint"), "{error}");
        }
        let own: SocketAddr = "192.0.2.7:50051".parse().unwrap();
        assert_eq!(endpoint(own, &url("http://127.0.0.1")).await.unwrap(), "192.0.2.7:50051");
    }
}
