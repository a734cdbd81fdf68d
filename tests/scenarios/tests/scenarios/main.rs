//! The daemon under real traffic. One program, so that all scenarios run beside each other.
#![forbid(unsafe_code)]

mod answers;
mod attach;
mod bridge;
mod checksums;
mod clsact;
mod daemons;
mod errors;
mod everywhere;
mod explain;
mod flows;
mod handed_over;
mod http_connections;
mod http_requests;
mod inbound;
mod lifecycle;
mod lists;
mod live;
mod names;
mod names_resolved;
mod operator;
mod peers;
mod protected;
mod refusals;
mod restart;
mod rounds;
mod sockets;
mod tap;
mod tls;
mod tls_hellos;
mod tls_peers;
mod together;
mod tricks;
mod watch;
mod whole;
mod window;
