//! A web server.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::START_LIMIT;
use crate::{node::Node, poll::poll, process::Process, tools};

/// The size of `/big`: at its rate five minutes' worth. The file is sparse.
const BIG: u64 = 64 << 20;

/// nginx on ports 80, 8080 (plain) and 443 (TLS) of all addresses of its node, v4 and v6.
///
/// `/` answers with the address that was asked and a newline. `/big` sends 64 MiB of zeros at 200 kB/s in small, even
/// pieces. Files that a test puts into [`Nginx::root`] are served as well. TLS speaks HTTP/2 too; its certificate, for `example.test` and
/// `*.example.test`, is of the authority [`Nginx::authority`].
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    dir: PathBuf,
}

impl Nginx {
    /// The requests so far, one a line: client address, server address, server port, Host header, request line, status.
    pub fn log(&self) -> Result<String> {
        let path = self.dir.join("access.log");
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The directory with the files that are served.
    pub fn root(&self) -> PathBuf {
        self.dir.join("www")
    }

    /// The certificate of the authority that has signed the server's, as a file.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// The server's certificate and key, as files.
    pub fn identity(&self) -> [PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|file| self.dir.join(file))
    }

    /// The process id of the master process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Node {
    /// Starts nginx in this namespace, one at a time. Fails when it does not answer within five seconds.
    pub fn nginx(&self) -> Result<Nginx> {
        let dir = self.dir().join("nginx");
        fs::create_dir_all(dir.join("www")).with_context(|| format!("cannot create {}", dir.display()))?;
        File::create(dir.join("www/big")).and_then(|big| big.set_len(BIG)).context("cannot make the large file")?;
        fs::write(dir.join("nginx.conf"), CONFIGURATION).context("cannot write nginx.conf")?;
        make_certificate(self, &dir)?;

        let prefix = dir.to_string_lossy();
        let process = self.spawn(&["nginx", "-p", &prefix, "-c", "nginx.conf", "-e", "error.log"])?;
        let mut server = Nginx { process, dir };
        let answer = poll(START_LIMIT, || {
            let answers = self.curl("http://127.0.0.1/").is_ok_and(|curl| curl.status == 200);
            (answers || !server.process.is_running()).then_some(answers)
        });
        match answer {
            Some(true) => Ok(server),
            _ => bail!(
                "nginx in {} does not answer: {}{}",
                self.name(),
                server.process.stderr(),
                fs::read_to_string(server.dir.join("error.log")).unwrap_or_default()
            ),
        }
    }
}

/// Makes an authority, and a certificate that it has signed.
fn make_certificate(node: &Node, dir: &std::path::Path) -> Result<()> {
    let own = "-subj /CN=authority.test -addext keyUsage=critical,keyCertSign -keyout authority.key -out authority.pem";
    let servers = "-subj /CN=example.test -addext subjectAltName=DNS:example.test,DNS:*.example.test \
                   -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth \
                   -CA authority.pem -CAkey authority.key -keyout key.pem -out certificate.pem";
    for more in [own, servers] {
        let mut openssl = tools::command("openssl");
        let all = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2";
        openssl.current_dir(dir).args(all.split_whitespace()).args(more.split_whitespace());
        Process::start(openssl, "openssl", node.dir())?.wait(Duration::from_secs(10))?.ok()?;
    }
    Ok(())
}

/// Small buffers without sendfile make the rate limit even: without them it is one burst a second.
const CONFIGURATION: &str = r#"
daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 512; }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    log_format tests '$remote_addr $server_addr $server_port "$http_host" "$request" $status';
    access_log access.log tests;
    default_type text/plain;
    server {
        listen 80 reuseport;
        listen [::]:80 reuseport;
        listen 8080;
        listen [::]:8080;
        listen 443 ssl http2;
        listen [::]:443 ssl http2;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        root www;
        location = / { return 200 "$server_addr\n"; }
        location = /big { sendfile off; output_buffers 1 4k; limit_rate 200k; }
    }
}
"#;
