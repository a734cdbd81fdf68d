//! Carrying between sockets of loopback.

use super::pair::Socket;
use super::{Pair, Task, Workers, more_comes};
use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;

/// After so long something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer's socket, and the one that is carried for.
fn connection() -> (TcpStream, Socket) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    let (carried, _) = listener.accept().unwrap();
    carried.set_nonblocking(true).unwrap();
    (peer, Arc::new(OwnedFd::from(carried)))
}

/// A client and a server that are carried between, and what tells when that ends.
fn carried(workers: &Workers, first: &[u8]) -> (TcpStream, TcpStream, Receiver<()>) {
    let ((client, front), (server, back)) = (connection(), connection());
    let (lasting, lasts) = channel::<()>();
    workers.carry(Pair::new([front, back], first.to_vec(), Arc::default(), lasting));
    (client, server, lasts)
}

fn workers(runtime: &Runtime) -> Workers {
    Workers::start(2, runtime.handle()).unwrap()
}

/// Bytes that tell their place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

#[test]
fn all_arrives_both_ways_however_slowly_it_is_read() {
    const LENGTH: usize = 24 << 20;
    let runtime = Runtime::new().unwrap();
    let workers = workers(&runtime);
    let (client, server, lasts) = carried(&workers, b"first");
    let send = |mut to: TcpStream| {
        thread::spawn(move || {
            to.write_all(&pattern(LENGTH)).unwrap();
            to.shutdown(Shutdown::Write).unwrap();
        })
    };
    let receive = |mut from: TcpStream, expected: Vec<u8>| {
        thread::spawn(move || {
            let (mut all, mut bytes) = (Vec::new(), vec![0; 1 << 20]);
            loop {
                // The buffers of both sides fill up in between.
                thread::yield_now();
                match from.read(&mut bytes).unwrap() {
                    0 => break,
                    read => all.extend_from_slice(&bytes[..read]),
                }
            }
            assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
        })
    };
    let begun = [send(client.try_clone().unwrap()), send(server.try_clone().unwrap())];
    let expected = [b"first".to_vec(), pattern(LENGTH)].concat();
    let done = [receive(server, expected), receive(client, pattern(LENGTH))];
    begun.into_iter().chain(done).for_each(|thread| thread.join().unwrap());
    assert!(lasts.recv_timeout(PATIENCE).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn one_way_goes_on_after_the_other_has_ended() {
    let runtime = Runtime::new().unwrap();
    let workers = workers(&runtime);
    let (mut client, mut server, lasts) = carried(&workers, b"");
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    server.write_all(b"an").unwrap();
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    server.write_all(b"swer").unwrap();
    drop(server);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!((&answer, &*rest), (b"an", "swer"));
    assert!(lasts.recv_timeout(PATIENCE).is_err());
}

#[test]
fn a_reset_is_passed_on() {
    let runtime = Runtime::new().unwrap();
    let workers = workers(&runtime);
    for is_client in [true, false] {
        let (client, server, _lasts) = carried(&workers, b"");
        let (broken, mut other) = if is_client { (client, server) } else { (server, client) };
        rustix::net::connect_unspec(&broken).unwrap();
        assert_eq!(other.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{is_client}");
    }
}

#[test]
fn a_server_that_refuses_the_connection_is_a_reset() {
    let runtime = Runtime::new().unwrap();
    let workers = workers(&runtime);
    let (mut client, front) = connection();
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let back: OwnedFd = crate::sources::Sources::default().connect(nobody, true).unwrap();
    let pair = Pair::new([front, Arc::new(back)], b"hello".to_vec(), Arc::default(), ());
    workers.carry(pair.connecting(Some(b"unreachable")));
    assert_eq!(client.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_listener_that_nobody_holds_is_left_alone() {
    let runtime = Runtime::new().unwrap();
    let workers = Workers::start(1, runtime.handle()).unwrap();
    let listener = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let ((ended, ended_at), (held, held_at)) = (listener(), listener());
    let (taken, takes) = channel();
    let take = |which: &'static str| {
        let taken = taken.clone();
        move |client: OwnedFd| -> Task {
            taken.send((which, client)).unwrap();
            Box::pin(async {})
        }
    };
    // Who has given it has it as well.
    let same = ended.try_clone().unwrap();
    drop(workers.listen("test", ended, take("ended")).unwrap());
    let _held = workers.listen("test", held, take("held")).unwrap();
    let _connections = [ended_at, held_at].map(|at| TcpStream::connect(at).unwrap());
    assert_eq!(takes.recv_timeout(PATIENCE).unwrap().0, "held");
    same.set_nonblocking(true).unwrap();
    same.accept().expect("it is still there");
}

#[test]
fn a_client_is_waited_for_where_it_was_taken_and_a_slow_one_by_the_runtime() {
    let runtime = Runtime::new().unwrap();
    let workers = Workers::start(1, runtime.handle()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (gone_on, goes_on) = channel();
    let take = move |client: OwnedFd| -> Task {
        let gone_on = gone_on.clone();
        Box::pin(async move {
            let has_come = more_comes(&Arc::new(client)).await;
            gone_on.send((has_come, thread::current().name() == Some("worker"))).unwrap();
        })
    };
    let _held = workers.listen("test", listener, take).unwrap();
    let _silent = TcpStream::connect(address).unwrap();
    assert_eq!(goes_on.recv_timeout(PATIENCE).unwrap(), (false, false));
    let is_waited_for = || {
        TcpStream::connect(address).unwrap().write_all(b"a moment later").unwrap();
        goes_on.recv_timeout(PATIENCE).unwrap() == (true, true)
    };
    // A machine that is busy elsewhere may let a moment pass.
    assert!((0..10).any(|_| is_waited_for()));
}

#[test]
fn who_waits_ends_with_the_listener() {
    struct Ends(Sender<()>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.send(()).ok();
        }
    }
    let runtime = Runtime::new().unwrap();
    let workers = Workers::start(1, runtime.handle()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let ((taken, takes), (ended, ends)) = (channel(), channel());
    let take = move |client: OwnedFd| -> Task {
        let (taken, ends) = (taken.clone(), Ends(ended.clone()));
        Box::pin(async move {
            taken.send(()).unwrap();
            more_comes(&Arc::new(client)).await;
            pending::<()>().await;
            drop(ends);
        })
    };
    let held = workers.listen("test", listener, take).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    takes.recv_timeout(PATIENCE).unwrap();
    drop(held);
    ends.recv_timeout(PATIENCE).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn who_is_awake_answers_and_who_is_not_does_not() {
    let runtime = Runtime::new().unwrap();
    let workers = Arc::new(Workers::start(1, runtime.handle()).unwrap());
    workers.answer().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let ((stuck, is_stuck), (free, is_free)) = (channel(), channel::<()>());
    let is_free = std::sync::Mutex::new(is_free);
    let take = move |_| -> Task {
        stuck.send(()).unwrap();
        assert!(is_free.lock().unwrap().recv().is_err(), "nothing is said: it ends");
        Box::pin(async {})
    };
    let _held = workers.listen("test", listener, take).unwrap();
    let _connection = TcpStream::connect(address).unwrap();
    is_stuck.recv_timeout(PATIENCE).unwrap();
    let (answered, answers) = channel();
    let asking = workers.clone();
    thread::spawn(move || answered.send(asking.answer().is_ok()));
    assert!(answers.recv_timeout(Duration::from_millis(100)).is_err(), "it is stuck");
    drop(free);
    assert!(answers.recv_timeout(PATIENCE).unwrap());
}
