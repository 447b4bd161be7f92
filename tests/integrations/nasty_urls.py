"""Addresses that somebody hopes a server will follow to its own network. `{port}` is where a canary listens on every local address."""

# ruff: noqa: RUF001, S104 - look-alike letters and the address of every interface are what this list is about

from typing import Final

LOOPBACK: Final = (
    "127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "127.255.255.254", "0", "0.0.0.0", "0.0", "00.00.00.00", "localhost", "LOCALHOST",
    "localhost.", "localhost.localdomain", "ip6-localhost", "2130706433", "02130706433", "017700000001", "0x7f000001", "0x7F000001",
    "0x7f.0.0.1", "0x7f.0x0.0x0.0x1", "0177.0.0.1", "0177.0.0.01", "0177.00.00.01", "00000177.0.0.1", "127.0x1", "127.0.0x1",
    "0x7f.1", "0177.1", "4294967296", "2130706433.0", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::1]", "[::1%25lo]", "[::1%lo]",
)  # fmt: skip

PRIVATE: Final = (
    "169.254.169.254", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "025177524776", "169.254.43518",
    "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]",
    "[fe80::1%25eth0]", "[fec0::1]", "[fc00::1]", "[ff02::1]", "169.254.170.2", "100.100.100.200", "192.0.0.192", "10.0.0.1", "10.1",
    "0xa000001", "167772161", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.1", "0300.0250.0.1", "3232235521", "100.64.0.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.0.2.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "192.88.99.1",
    "[2001:db8::1]", "[100::1]", "[3fff::1]", "[5f00::1]", "[2002:a9fe:a9fe::]", "[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]",
)  # fmt: skip

NAMES: Final = (
    "metadata.google.internal", "instance-data", "kubernetes.default.svc", "127.0.0.1.nip.example", "localtest.example", "mixed.example",
    "mapped.example", "nat64.example", "rebinding.example",
)  # fmt: skip

# Whole addresses: the host a careless reader sees is allowed, the one a careless parser connects to is local.
TRICKS: Final = (
    "http://api.example.test@127.0.0.1:{port}/", "http://api.example.test:80@127.0.0.1:{port}/", "http://api.example.test%40127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/", "http://:@127.0.0.1:{port}/", "http://127.0.0.1:{port}@api.example.test/", "https://@api.example.test/",
    "http://api.example.test%00@127.0.0.1:{port}/", "http://api.example.test\\@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@api.example.test/",
    "http://127.0.0.1:{port}#@api.example.test/", "http://127.0.0.1:{port}?@api.example.test/",
    "http://127.0.0.1:{port}/api.example.test", "http:\\\\127.0.0.1:{port}\\", "http:/127.0.0.1:{port}/", "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/", "http:////127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}/", "/", "", " ", "http://", "https://",
    " http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/ ", "http://127.0.0.1 :{port}/", "http://127.0.0.1:{port}\t/", "ht\ntp://127.0.0.1/",
    "http://127.0.0.1:{port}\r\nHost: api.example.test/", "http://api.example.test\r\n@127.0.0.1:{port}/", "http://127.0.0.1:{port}\x00/",
    "HTTP://127.0.0.1:{port}/", "hTTp://LOCALHOST:{port}/", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_GET", "ws://127.0.0.1:{port}/",
    "file:///etc/hostname", "file://127.0.0.1:{port}/", "dict://127.0.0.1:{port}/d", "ldap://127.0.0.1:{port}/", "data:text/plain,x",
    "javascript:1", "unix:///run/x.sock", "http+unix://%2Frun%2Fx.sock/", "jar:http://127.0.0.1:{port}!/", "url:http://127.0.0.1:{port}/",
    "http://api.example.test.:80/", "http://api.example.test.127.0.0.1.nip.example:{port}/", "http://api.example.test:{port}/",
    "http://api.example.test:0/", "http://api.example.test:65536/", "http://api.example.test:-1/", "http://api.example.test:80:{port}/",
    "http://api.example.test:８０/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/", "http://①②⑦.⓪.⓪.①:{port}/", "http://127。0。0。1:{port}/", "http://127．0．0．1:{port}/",
    "http://loc\u00adalhost:{port}/", "http://\u200blocalhost:{port}/", "http://api.example.test\u2024evil/", "http://аpi.example.test/",
    "http://%31%32%37.0.0.1:{port}/", "http://127.0.0.1%2eapi.example.test:{port}/", "http://%6c%6f%63alhost:{port}/", "http://[::1:{port}/",
    "http://::1:{port}/", "http://[127.0.0.1]:{port}/", "http://[localhost]:{port}/", "http://[::1]api.example.test:{port}/",
    "http://api.example.test[::1]:{port}/", "http://[v1.x]:{port}/",
    "http://0x7f000001:{port}@api.example.test:80/", "http://1.1.1.1 &@127.0.0.1/",
    "http://127.0.0.1:{port}%23@api.example.test/", "http://a:b:c@127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "https://localhost:{port}/",
    "http://api.example.test;127.0.0.1:{port}/", "http://api.example.test,127.0.0.1:{port}/", "http://*:{port}/", "http://.:{port}/", "http://..:{port}/",
)  # fmt: skip

HOSTS: Final = LOOPBACK + PRIVATE + NAMES
