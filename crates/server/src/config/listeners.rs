//! Where protocols that are no HTTP listen.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Syslog, RFC 5424 and RFC 3164. Senders need no key: listen where only they can reach it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogConfig {
    /// Address for UDP, as `127.0.0.1:5514`; not taken when absent.
    pub udp: Option<String>,
    /// Address for TCP, octet counting and newlines; not taken when absent.
    pub tcp: Option<String>,
    /// Address for TLS; not taken when absent.
    pub tls: Option<String>,
    /// Certificate chain for TLS, PEM.
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub tls_key_file: Option<PathBuf>,
}

/// Fluent's Forward protocol, which Fluentd, Fluent Bit and their loggers send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FluentConfig {
    /// Address to listen on, as `127.0.0.1:24224`; not taken when absent.
    pub listen: Option<String>,
    /// File whose first line is the `shared_key` that senders have to know; none is asked for when absent.
    pub shared_key_file: Option<PathBuf>,
}

/// Jaeger's agent protocol: Thrift over UDP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerConfig {
    /// Address for clients that write Thrift's compact protocol, as `127.0.0.1:6831`; not taken when absent.
    pub compact: Option<String>,
    /// Address for clients that write the binary protocol, as `127.0.0.1:6832`; not taken when absent.
    pub binary: Option<String>,
}
