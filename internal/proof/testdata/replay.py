"""An independent reading of a log: its root and its report, by the documents alone.

Arguments: the entries of a log, each after its length in two bytes; the CA's
ARN; JSON or CSV. Prints the root in base64 and writes the report to stdout.
"""
import base64, csv, datetime, hashlib, io, json, struct, sys

REASONS = {0: "UNSPECIFIED", 1: "KEY_COMPROMISE", 2: "CERTIFICATE_AUTHORITY_COMPROMISE", 3: "AFFILIATION_CHANGED", 4: "SUPERSEDED",
           5: "CESSATION_OF_OPERATION", 9: "PRIVILEGE_WITHDRAWN", 10: "A_A_COMPROMISE"}


class Entry:
    def __init__(self, raw):
        self.at, self.raw = 10, raw
        version, self.type, self.time = struct.unpack(">BBQ", raw[:10])
        assert version == 1
        if self.type == 1:
            self.serial = self.text(1)
            self.at += 32
            self.not_before, self.not_after = struct.unpack(">qq", raw[self.at:self.at + 16])
            self.at += 16
            self.account, self.principal, self.template, self.subject = self.text(1), self.text(1), self.text(1), self.text(2)
        elif self.type == 2:
            self.serial = self.text(1)
            self.index, self.reason = struct.unpack(">QB", raw[self.at:self.at + 9])

    def text(self, width):
        n = int.from_bytes(self.raw[self.at:self.at + width], "big")
        self.at += width + n
        return self.raw[self.at - n:self.at]


def root(leaves):
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


def stamp(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")


def row(e, revocation, arn):
    serial = e.serial.hex().rjust(32, "0")
    caller = e.principal.decode()
    r = {"awsAccountId": e.account.decode()}
    r["requestedByServicePrincipal"] = "" if caller.startswith("arn:") else caller
    r["certificateArn"] = arn + "/certificate/" + serial
    r["serial"] = ":".join(serial[i:i + 2] for i in range(0, len(serial), 2))
    r["subject"] = e.subject.decode()
    r["notBefore"], r["notAfter"], r["issuedAt"] = stamp(e.not_before), stamp(e.not_after), stamp(e.time // 1000)
    r["revokedAt"] = stamp(revocation.time // 1000) if revocation else ""
    r["revocationReason"] = REASONS[revocation.reason] if revocation else ""
    r["templateArn"] = e.template.decode()
    return r


def main(path, arn, form):
    data = open(path, "rb").read()
    raws, at = [], 0
    while at < len(data):
        n = int.from_bytes(data[at:at + 2], "big")
        raws.append(data[at + 2:at + 2 + n])
        at += 2 + n
    entries = [Entry(raw) for raw in raws]
    revoked = {e.index: e for e in entries if e.type == 2}
    rows = [row(e, revoked.get(i), arn) for i, e in enumerate(entries) if e.type == 1]
    print(base64.b64encode(root(raws)).decode())
    if form == "JSON":
        lines = [json.dumps({k: v for k, v in r.items() if v}, separators=(",", ":"), ensure_ascii=False) for r in rows]
        sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")
        return
    out = io.StringIO()
    w = csv.writer(out, lineterminator="\n")
    w.writerow(row(next(e for e in entries if e.type == 1), None, arn).keys())
    w.writerows(r.values() for r in rows)
    sys.stdout.write(out.getvalue())


main(*sys.argv[1:])
