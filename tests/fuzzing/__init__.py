"""The fuzzer: hostile input by the thousand, each of which must end in a right result or in one line and exit code 2.

``pytest tests/test_fuzz.py`` runs a bounded number of cases of every kind and prints how they ended. Longer::

    pytest tests/test_fuzz.py --fuzz-cases 2000            so many model files, options and data files, the rest in
                                                           proportion
    pytest tests/test_fuzz.py --fuzz-minutes 30            as many as half an hour holds, the same time for each kind
    pytest tests/test_fuzz.py --fuzz-seed 7                other cases
    pytest tests/test_fuzz.py -k formulas                  one kind
    pytest tests/test_fuzz.py --fuzz-replay 7:options:31   one case, as a failure names it; add --basetemp DIR to
                                                           choose where its files stay

A case is made from (seed, kind, index) alone, so that more cases keep the earlier ones. Files of a failed case stay in
the test's temporary folder, those of all others are removed.

One file a concept: ``case`` (a case, and what every call of the command line has to keep), ``server`` (runs each case
in a process of its own, forked from one that has imported everything), ``campaign`` (many cases of one kind),
``hostile`` (numbers, texts, paths and damage), and a file for each kind: ``model_files``, ``formulas``, ``options``,
``data_files`` (both from the valid ``data``), ``caches``, ``checkpoints``. A kind is a function ``run(case)`` that
returns ``"right"`` or ``"refused"`` and raises ``Bad`` for anything else; ``prepare(case)``, where it exists, makes
once what the cases share.
"""
