-- Prosody for a benchmark: Debian's modules with the archive on and in SQLite, no limits on traffic, no Nagle delays.
run_as_root = true
daemonize = false
interfaces = { "127.0.0.1" }
c2s_ports = { @PLAIN@ }
c2s_direct_tls_ports = { @TLS@ }
s2s_ports = { } s2s_direct_tls_ports = { } http_ports = { } https_ports = { }
certificates = "@FOLDER@/certs"
data_path = "@FOLDER@/data"
pidfile = "@FOLDER@/prosody.pid"
admin_socket = "@FOLDER@/prosody.sock"
modules_enabled = {
  "disco", "roster", "saslauth", "tls", "blocklist", "bookmarks", "carbons", "pep", "private", "smacks", "vcard4",
  "vcard_legacy", "csi_simple", "ping", "register", "time", "uptime", "version", "posix", "mam", "register_ibr",
}
modules_disabled = { "s2s" }
network_settings = { nagle = false }
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
archive_expires_after = "1w"
default_archive_policy = true
max_archive_query_results = 100
sql = { driver = "SQLite3", database = "@FOLDER@/data/prosody.sqlite" }
storage = { archive = "sql", muc_log = "sql" }
log = { warn = "@FOLDER@/prosody.log" }
VirtualHost "@HOST@"
Component "muc.@HOST@" "muc"
  modules_enabled = { "muc_mam" }
  restrict_room_creation = "local"
  muc_room_default_persistent = true
  muc_log_by_default = true
