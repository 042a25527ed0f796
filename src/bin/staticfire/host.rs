//! What only this machine knows: its name and the address others reach it at.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use staticfire::broker::config::Host;

use crate::file;

/// An address of the block kept for documentation: nothing is sent to it, the kernel only says which of this machine's
/// addresses it would send from.
const FAR_AWAY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The host's name, and its address towards the rest of the network (loopback when there is none).
pub(crate) async fn find() -> Host {
    let name = file::kernel(Path::new("/proc/sys/kernel/hostname"));
    let name = String::from_utf8(name).ok().map(|name| name.trim().to_owned());
    // RocketMQ's name for a broker whose host has none.
    let name =
        name.filter(|name| (1..=127).contains(&name.len())).unwrap_or_else(|| "DEFAULT_BROKER".to_owned());
    Host { name, ip: outward_ip().await.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) }
}

async fn outward_ip() -> Option<IpAddr> {
    let socket = tokio_real::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect(FAR_AWAY).await.ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}
