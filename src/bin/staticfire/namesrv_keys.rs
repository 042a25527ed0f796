//! The name server's keys: the one list of what its property file may say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use staticfire::broker::config::{Key, Slot, Table};
use staticfire::namesrv::{Config, PORT};

/// Settings of one name server, with RocketMQ's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) bind_address: IpAddr,
    pub(crate) listen_port: u16,
    /// The file the key-value table is kept in.
    pub(crate) kv_config_path: PathBuf,
    /// Whether routes carry the queue counts of ordered topics.
    pub(crate) order_message: bool,
    /// Whether registrations are answered with them.
    pub(crate) return_order_config: bool,
}

pub(crate) static TABLE: Table<Settings> =
    Table { keys: &KEYS, apache: include_str!("apache_namesrv_keys.txt") };

pub(crate) static KEYS: [Key<Settings>; 5] = [
    Key { name: "bindAddress", slot: Slot::Ip(|s| &mut s.bind_address), about: "the address it listens at" },
    Key {
        name: "listenPort",
        slot: Slot::Port(|s| &mut s.listen_port),
        about: "the port it listens at; 0 for any free one",
    },
    Key {
        name: "kvConfigPath",
        slot: Slot::Path(|s| &mut s.kv_config_path),
        about: "the file the key-value table is kept in",
    },
    Key {
        name: "orderMessageEnable",
        slot: Slot::Flag(|s| &mut s.order_message),
        about: "routes carry the queue counts of ordered topics",
    },
    Key {
        name: "returnOrderTopicConfigToBroker",
        slot: Slot::Flag(|s| &mut s.return_order_config),
        about: "registrations are answered with them",
    },
];

impl Settings {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind_address, self.listen_port)
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            listen: self.address(),
            kv_path: self.kv_config_path.clone(),
            order_message_enable: self.order_message,
            return_order_topic_config_to_broker: self.return_order_config,
            ..Config::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            listen_port: PORT,
            kv_config_path: PathBuf::from("./staticfire-data/namesrv/kvConfig.json"),
            order_message: false,
            return_order_config: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, TABLE};

    #[test]
    fn every_supported_key_is_apaches_and_reads_back_as_shown() {
        let mut settings = Settings::default();
        for (key, value) in TABLE.show(&Settings::default()) {
            assert!(TABLE.apache.lines().any(|known| known == key), "{key} is not a key of Apache's");
            assert_eq!(TABLE.set(&mut settings, key, &value), Ok(true), "{key}");
        }
        assert_eq!(settings, Settings::default());
    }
}
