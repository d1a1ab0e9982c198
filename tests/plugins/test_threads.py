"""Look-ups from many threads: each plugin is imported once, all get the same object, and no thread waits for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Site

import pytest

#: 32 threads look up 20 levels of plugins, each in an order of its own; every fourth one asks for names that nobody
#: has, for which all plugins are looked through, and for whatever needs all of them imported
ASK = """
import random, sys, threading, time
names = [f"Level{i}" for i in range(20)]
found = {name: set() for name in names}
errors = []
start = threading.Barrier(32)
sys.setswitchinterval(0.0001)

def ask(seed):
    order = random.Random(ROUND * 32 + seed).sample(names, len(names))
    start.wait()
    try:
        for name in order:
            if seed % 4 == 0:
                assert tried(lambda: levels[f"Nobody{name}"]).startswith("UnknownLevelError: unknown level")
                assert levels.get(f"nobody-{name}") is None
            found[name].add(id(levels[name]))
            assert levels[name.upper()] is levels[name]
        if seed % 8 == 0:
            levels.plugins(load=True)
            assert tried(lambda: levels.from_dialect("torch", "nobody")).startswith("UnknownLevelError")
        assert {level.name for level in levels.with_bits(4)} >= set(names)
    except BaseException as error:
        errors.append(repr(error))

threads = [threading.Thread(target=ask, args=(seed,), daemon=True) for seed in range(32)]
for thread in threads:
    thread.start()
deadline = time.monotonic() + 40
for thread in threads:
    thread.join(timeout=max(deadline - time.monotonic(), 0))
answer(alive=sum(thread.is_alive() for thread in threads), errors=errors, objects=[len(ids) for ids in found.values()])
answer(states=sorted(set(states().values())))
"""
#: a process each: what is imported once cannot be raced for again
ROUNDS = pytest.mark.parametrize("number", range(5))


@ROUNDS
def test_each_is_imported_once(site: Site, number: int) -> None:
    for i in range(20):
        site.install_level(f"quant-{i}", f"Level{i}")
    result = site.run(f"ROUND = {number}{ASK}")
    assert result["alive"] == 0
    assert result["errors"] == []
    assert result["objects"] == [1] * 20
    assert result["states"] == ["loaded"]
    assert sorted(result.imported) == sorted(f"quant_{i}" for i in range(20))


@ROUNDS
def test_plugins_that_ask_for_others_do_not_deadlock(site: Site, number: int) -> None:
    for i in range(20):
        source = f"""
import sys, time
from quantlevels import QuantizationLevel, levels
time.sleep(0.005)
assert {i} == 0 or levels["Level{i - 1}"]
LEVEL = QuantizationLevel(name="Level{i}", bits_per_param=4)
sys.stdout.write("imported quant_{i}\\n")
"""
        site.install(f"quant-{i}", {f"Level{i}": f"quant_{i}:LEVEL"}, {f"quant_{i}.py": source})
    result = site.run(f"ROUND = {number}{ASK}")
    assert result["alive"] == 0
    assert result["errors"] == []
    assert result["objects"] == [1] * 20
    assert len(result.imported) == len(set(result.imported)) == 20


def test_two_that_need_each_other_do_not_deadlock(site: Site) -> None:
    for one, other in ("Level0", "Level1"), ("Level1", "Level0"):
        source = f"import time\nfrom quantlevels import levels\ntime.sleep(0.05)\nLEVEL = levels[{other!r}]"
        site.install(f"quant-{one}", {one: f"{one.lower()}:LEVEL"}, {f"{one.lower()}.py": source})
    result = site.run("""
        import threading
        results = {}
        def ask(name):
            results[name] = tried(lambda: levels[name])
        threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in ("Level0", "Level1") * 4]
        for thread in threads: thread.start()
        for thread in threads: thread.join(timeout=20)
        answer(alive=sum(thread.is_alive() for thread in threads), results=results, states=states())
    """)
    assert result["alive"] == 0
    assert all(results.startswith("PluginLoadError: ") for results in result["results"].values())
    assert set(result["states"].values()) == {"failed"}


def test_plugins_that_ask_for_all_while_they_are_imported_do_not_deadlock(site: Site) -> None:
    for i in range(20):
        source = f"""
import sys
from quantlevels import QuantizationLevel, levels
levels.get("Nobody{i}")
levels.plugins()
levels["Int{2 + i % 3}"], levels["torch.float8_e5m2"]
LEVEL = QuantizationLevel(name="Level{i}", bits_per_param=4)
sys.stdout.write("imported quant_{i}\\n")
"""
        site.install(f"quant-{i}", {f"Level{i}": f"quant_{i}:LEVEL"}, {f"quant_{i}.py": source})
    result = site.run(f"ROUND = 0{ASK}")
    assert (result["alive"], result["errors"]) == (0, [])
    assert result["objects"] == [1] * 20
