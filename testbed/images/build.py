"""Build the images of the end-to-end tests from packages if no image registry is reachable.

    python -m testbed.images.build                  builds what is missing or out of date
    python -m testbed.images.build postgres redis   only these (a folder's name or a whole tag)
    python -m testbed.images.build --long    those that only the long suite runs
    python -m testbed.images.build --force kafka    again, regardless of the labels
    python -m testbed.images.build --list           names them and builds nothing

Each image has the name and the interface of the official one; README.md lists what each one really runs. If the engine
already has the official image, it is kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from testbed.images import debian
from testbed.images.downloads import CACHE
from testbed.images.engine import OFFICIAL_PREFIX, docker, present, print_progress
from testbed.images.recipes import BASES, IMAGES, OF_LONG_SUITE, Recipe


def ensure(names: Sequence[str] = (), *, force: bool = False) -> list[str]:
    """Build the named images (default: all of `IMAGES`) that are missing or out of date. Return their tags.

    Images of this project that lost their tag to a newer one are removed, unless a container uses them.
    """
    chosen = selected(names)
    marks = {debian.ROOTFS: debian.FINGERPRINT}
    for recipe in (*BASES, *IMAGES, *OF_LONG_SUITE):
        marks[recipe.tag] = recipe.fingerprint(marks[recipe.parent])
    have = present(list(marks))
    stale = [
        recipe
        for recipe in chosen
        if have.get(recipe.tag) != OFFICIAL_PREFIX and (force or have.get(recipe.tag) != marks[recipe.tag])
    ]
    if stale:
        debian.install_tools()
        with ThreadPoolExecutor(2) as fetchers, ThreadPoolExecutor(2) as builders:
            downloads = {r.tag: fetchers.submit(r.download.fetch) for r in stale if r.download}
            if have.get(debian.ROOTFS) != marks[debian.ROOTFS]:
                debian.import_rootfs()
            for base in BASES:
                if have.get(base.tag) != marks[base.tag] and is_base_needed(base, stale):
                    build(base, marks[base.tag])
            for wave in build_stages(stale):
                running = [builders.submit(build, r, marks[r.tag], downloads.get(r.tag)) for r in wave]
                for future in running:
                    future.result()
        docker("image", "prune", "--force", "--filter", "label=pti.recipe")
    return [recipe.tag for recipe in chosen]


def selected(names: Sequence[str]) -> list[Recipe]:
    """Return the recipes with the given names, and their base images; without names, all of `IMAGES`."""
    every = (*IMAGES, *OF_LONG_SUITE)
    unknown = [name for name in names if not any(name in (r.folder, r.tag) for r in every)]
    if unknown:
        known = ", ".join(sorted({recipe.folder for recipe in every} | {recipe.tag for recipe in every}))
        raise RuntimeError(f"no such image: {', '.join(unknown)}; there are {known}")
    if not names:
        return list(IMAGES)
    chosen = [recipe for recipe in every if recipe.folder in names or recipe.tag in names]
    parents = {recipe.parent for recipe in chosen}
    return [recipe for recipe in every if recipe in chosen or recipe.tag in parents]


def is_base_needed(base: Recipe, stale: Sequence[Recipe]) -> bool:
    """Return whether one of the images to build uses this base, directly or indirectly."""
    return any(child.parent == base.tag for child in (*stale, *BASES[1:]))


def build_stages(stale: Sequence[Recipe]) -> tuple[list[Recipe], list[Recipe]]:
    """Yield first the images that depend on none of the others, then those that do."""
    tags = {recipe.tag for recipe in stale}
    later = [recipe for recipe in stale if recipe.parent in tags]
    return [recipe for recipe in stale if recipe not in later], later


def build(recipe: Recipe, fingerprint: str, download: Future[Path] | None = None) -> None:
    """Run one `docker build` in a copy of the recipe's folder that includes the download."""
    files = download.result() if download else None
    started = time.monotonic()
    print_progress(recipe.tag, "building")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        context = Path(folder, "context")
        shutil.copytree(recipe.place, context, ignore=shutil.ignore_patterns("__pycache__"))
        if files:
            shutil.copytree(files, context / "download", symlinks=True, copy_function=os.link)
        labels = {
            "pti.recipe": fingerprint,
            "pti.software": recipe.software,
            "pti.stand-in": str(recipe.is_stand_in).lower(),
        }
        options = [part for name, text in labels.items() for part in ("--label", f"{name}={text}")]
        for name, text in {"PARENT": recipe.parent, **recipe.arguments}.items():
            options += ["--build-arg", f"{name}={text}"]
        log = CACHE / "logs" / f"{recipe.tag.replace('/', '_')}.log"
        docker("build", "--force-rm", "--tag", recipe.tag, *options, str(context), log=log)
    print_progress(recipe.tag, f"built in {time.monotonic() - started:.0f} s")


def main() -> int:
    """Run the command line; return exit code 1 with one message after a failure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="folders or tags (default: all but those of the long suite)")
    parser.add_argument("--long", action="store_true", help="those that only the long suite runs")
    parser.add_argument("--force", action="store_true", help="build again even if nothing changed")
    parser.add_argument("--list", action="store_true", help="name the images and build nothing")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(recipe.tag for recipe in (OF_LONG_SUITE if arguments.long else IMAGES)))
        return 0
    names = [*arguments.names, *(recipe.tag for recipe in OF_LONG_SUITE if arguments.long)]
    try:
        tags = ensure(names, force=arguments.force)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"ready: {' '.join(tags)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
