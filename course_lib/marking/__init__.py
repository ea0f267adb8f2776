"""Marking what students hand in: ``python -m course_lib.marking FOLDER``.

*Two processes.* The student's notebook runs in a process of its own, in a sandbox (``sandbox``, ``answering``). The
checks, hidden tests among them, run in another one (``examiner``), which the student's code cannot reach: it asks the
first process for the answers, calls them, and gets values back (``values``, ``peer``). A mark is what a check decides
in the examiner's process. What the notebook prints, stores or patches is of no account.

*nbgrader* supplies the rest: its preprocessors clear outputs and put locked cells back, its gradebook keeps the marks
(``autograde``). Every submission has its own processes and its own record, so that none can stop the others, and a run
that was killed goes on where it was (``run``, ``report``).
"""
