#!/usr/bin/python3
"""What run.py measured, as ratios of hostd (ring: of libnet) to a peer in the same repetition, and the targets.

    gates.py [--all] FILE.tsv

A row is the median of the ratios of the repetitions that neither gateway's run was disturbed in; `*`
where all were. `ok` is a target that is reached; throughput and rates count as equal from 0.95 on, as
runs differ by as much. --all shows passt of Debian sid and the kernel beside it.
Exit: 0 (also where targets are missed), 1 (a measurement of hostd failed or is missing).
"""
import argparse
import collections
import statistics
import sys

OURS = ("hostd", "ring")
EQUAL = 0.95                            # counts as 1.0, of what is to be high
FOREIGN, STEAL = 0.15, 0.4              # cores of others from which a run counts as disturbed
THROUGHPUT = ["tput.up1", "tput.up8", "tput.down1", "tput.down8"]
THROUGHPUT6 = [test.replace("tput", "tput6") for test in THROUGHPUT]
PUBLISHED = ["pub.in1", "pub.out1"]

Gate = collections.namedtuple("Gate", "what ours peer test metric limit high")
Limit = collections.namedtuple("Limit", "what ours test metric limit unit")


def gates():
    """Ratios to a peer's figure, passt's but where it is said: `high` has to be the limit at least, else at most."""
    for mtu in ("64k", "1500"):
        for test in THROUGHPUT + PUBLISHED:
            yield Gate("default sysctls, passt's host tuned", f"hostd-{mtu}", f"passt-{mtu}-t", test, "gbps", 1.0, True)
    for mtu in ("64k", "1500"):
        pair = (f"hostd-{mtu}-t", f"passt-{mtu}-t")
        for test in THROUGHPUT + THROUGHPUT6 + PUBLISHED:
            yield Gate("both hosts tuned", *pair, test, "gbps", 1.0, True)
            yield Gate("both hosts tuned", *pair, test, "gw_cpu", 0.9, False)
        for test in ("rr", "rr6"):
            yield Gate("request and response", *pair, test, "p50", 1.0, False)
        for test in ("crr1", "crr32", "crr6-1", "crr6-32"):
            yield Gate("connect, request, close", *pair, test, "rate", 1.0, True)
            yield Gate("connect, request, close", *pair, test, "gw_cpu", 0.8, False)
        for test in ("pub.crr1", "pub.crr32"):
            yield Gate("the same, published", *pair, test, "rate", 1.0, True)
            yield Gate("the same, published", *pair, test, "gw_cpu", 0.8, False)
        for test in ("udprr64", "udprr1400"):
            yield Gate("UDP echo", *pair, test, "rate", 1.0, True)
        for test in ("udp64", "udp1400"):
            yield Gate("UDP one way", *pair, test, "clean", 1.0, True)
        yield Gate("DNS, known to the gateway", *pair, "dns.proxy", "qps", 1.2, True)
        yield Gate("DNS, new names", *pair, "dns.fresh", "qps", 1.0, True)
    for test in THROUGHPUT:
        pair = ("hostd-tap-1500-t", "hostd-1500-t")
        yield Gate("a TAP, to our own socket", *pair, test, "gbps", 1.3, True)
        yield Gate("a TAP, to our own socket", *pair, test, "gw_cpu", 0.7, False)
    for mtu in ("64k", "1500"):
        for test in THROUGHPUT:
            yield Gate("vhost-user, to passt's at 64k", f"hostd-vhost-{mtu}-t", "passt-vhost-64k-t", test, "gbps", 1.2, True)
    for what, ours in (("vhost-user", "hostd-vhost-1500-t"), ("rings", "ring-64k-t"), ("rings", "ring-1500-t")):
        for test in THROUGHPUT:
            yield Gate(what + ", to the kernel's veth and NAT", ours, "kernel-1500", test, "gbps", 0.5, True)


def limits():
    """Figures without a peer; `limit` is the most that is wanted, or None."""
    yield Limit("64 KiB copied once, one core", "kernel-1500", "memcpy", "gbps", None, "Gbit/s")
    yield Limit("10,000 idle flows", "hostd-64k-t", "flows10000", "bytes_per_flow", 768, "B")
    yield Limit("50,000 idle flows", "hostd-64k-t", "flows50000", "bytes_per_flow", 768, "B")
    yield Limit("of them, left 10 s after they are closed", "hostd-64k-t", "flows50000", "left", None, "")
    yield Limit("one flow's latency among 50,000", "hostd-64k-t", "flows50000", "rr_p50", None, "us")
    for metric, unit in (("start", "s"), ("pss", "MiB each"), ("private", "MiB each"), ("cpu_at_rest", "ms/s")):
        yield Limit("256 gateways beside each other", "hostd-64k-t", "hostds", metric, None, unit)
    for metric, unit in (("p50_before", "us"), ("p50", "us"), ("new", "/s"), ("held", "flows"), ("rss_growth", "MiB")):
        yield Limit("20,000 SYNs a second to nowhere", "hostd-64k-t", "synflood", metric, None, unit)
    yield Limit("start to the first DHCP offer", "hostd-64k-t", "startup", "dhcp", 6, "ms")
    yield Limit("resident, idle", "hostd-64k-t", "startup", "rss_idle", 5, "MiB")


class Results:
    """Values by gateway, test and metric, each with its repetition and whether it was disturbed."""

    def __init__(self, path):
        self.values = collections.defaultdict(dict)
        self.failures = []
        with open(path, encoding="utf-8") as file:
            for line in file:
                _, rep, gateway, test, metric, value, _, other, stolen, note = line.rstrip("\n").split("\t")
                if metric == "FAILED":
                    self.failures.append((gateway, test, note))
                disturbed = float(other) >= FOREIGN or float(stolen or 0) >= STEAL
                self.values[gateway, test, metric][rep] = (float(value), disturbed)

    def has(self, gateway):
        return any(key[0] == gateway for key in self.values)

    def median(self, gateway, test, metric):
        values = self.values.get((gateway, test, metric), {}).values()
        return statistics.median([value for value, bad in values if not bad] or [value for value, _ in values]) \
            if values else None

    def ratios(self, ours, peer, test, metric):
        """Of the repetitions that both have, and whether all of them were disturbed."""
        a, b = (self.values.get((one, test, metric), {}) for one in (ours, peer))
        pairs = [(a[rep][0] / b[rep][0], a[rep][1] or b[rep][1]) for rep in a if rep in b and b[rep][0] > 0]
        clean = [ratio for ratio, bad in pairs if not bad]
        return clean or [ratio for ratio, _ in pairs], not clean


def shown(value):
    return "" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def table(results, others):
    """Prints all rows; how many targets are reached, and of how many."""
    heads = ["", "test", "metric", "hostd", "peer", "ratio", "from", "to", "target", ""]
    beside = [name for name in others if any(results.has(f"{name}-{mtu}") for mtu in ("64k", "1500", "64k-t", "1500-t"))]
    print("| " + " | ".join(heads + beside) + " |")
    print("|" + "---|" * 3 + "---:|" * 6 + "---|" + "---:|" * len(beside))
    reached = total = 0
    for gate in gates():
        ratios, disturbed = results.ratios(gate.ours, gate.peer, gate.test, gate.metric)
        if not ratios:
            continue
        ratio = statistics.median(ratios)
        ok = ratio >= gate.limit * (EQUAL if gate.limit == 1 else 1) if gate.high else ratio <= gate.limit
        total += 1
        reached += ok
        mtu = "1500" if "1500" in gate.ours else "64k"
        cells = [f"{gate.what}, MTU {mtu}", gate.test, gate.metric,
                 shown(results.median(gate.ours, gate.test, gate.metric)),
                 shown(results.median(gate.peer, gate.test, gate.metric)), f"{ratio:.2f}{'*' if disturbed else ''}",
                 f"{min(ratios):.2f}", f"{max(ratios):.2f}", f"{'>=' if gate.high else '<='} {gate.limit}",
                 "ok" if ok else "**missed**"]
        suffix = gate.peer.removeprefix("passt-")
        cells += [shown(results.median(f"{name}-{suffix}", gate.test, gate.metric) or
                        results.median(f"{name}-{mtu}", gate.test, gate.metric)) for name in beside]
        print("| " + " | ".join(cells) + " |")
    for limit in limits():
        value = results.median(limit.ours, limit.test, limit.metric)
        if value is None:
            continue
        wanted = limit.limit is not None
        ok = wanted and value <= limit.limit
        total += wanted
        reached += ok
        peer = results.median(limit.ours.replace("hostd", "passt"), limit.test, limit.metric) \
            if limit.ours.startswith("hostd") else None
        print("| " + " | ".join([limit.what, limit.test, ", ".join(filter(None, (limit.metric, limit.unit))), shown(value), shown(peer), "",
                                 "", "", f"<= {limit.limit}" if wanted else "",
                                 ("ok" if ok else "**missed**") if wanted else ""] + [""] * len(beside)) + " |")
    for gateway in ("hostd-64k-t", "passt-64k-t"):
        many, one = (results.median(gateway, test, metric)
                     for test, metric in (("flows10000", "rr_p50"), ("rr", "p50")))
        if many and one:
            ours = gateway.startswith("hostd")
            total += ours
            reached += ours and many / one <= 1.2
            print("| " + " | ".join([f"{gateway}: one flow's latency among 10,000, to that alone", "flows10000", "rr_p50",
                                     shown(many), shown(one), f"{many / one:.2f}", "", "", "<= 1.2" if ours else "",
                                     ("ok" if many / one <= 1.2 else "**missed**") if ours else ""] +
                                    [""] * len(beside)) + " |")
    return reached, total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--all", action="store_true", help="passt of sid and the kernel beside it")
    asked = parser.parse_args()
    results = Results(asked.file)
    reached, total = table(results, ["passt-sid", "slirp", "kernel"] if asked.all else [])
    print(f"\n{reached} of {total} targets reached; medians of the ratios of equal repetitions")
    for gateway, test, note in results.failures:
        print(f"failed: {gateway} {test}: {note}")
    sys.exit(any(gateway.startswith(OURS) for gateway, _, _ in results.failures) or
             not any(key[0].startswith(OURS) for key in results.values))


if __name__ == "__main__":
    main()
