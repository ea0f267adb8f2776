"""Progress: a bar in a terminal, lines in a log, silence by default where nobody watches."""

import io

from course_lib.train import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silence_unless_asked_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    assert isinstance(progress.make_progress("auto", 5), progress.Silent)
    assert isinstance(progress.make_progress(False, 5), progress.Silent)


def test_a_log_file_gets_whole_lines_now_and_then_and_the_last_one(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", log)
    monkeypatch.delitem(progress.sys.modules, "ipykernel", raising=False)
    lines = progress.make_progress(True, 3)
    for epoch in (1, 2, 3):
        lines.show(epoch, {"loss": 1 / epoch, "val_accuracy": 0.5})
    lines.close()
    assert log.getvalue() == "epoch 3/3 loss 0.3333 val_accuracy 0.5\n"
    lines = progress.Lines(3, every=0.0)
    lines.show(1, {"loss": 0.5})
    assert log.getvalue().endswith("\nepoch 1/3 loss 0.5\n")


def test_a_terminal_gets_a_bar_that_says_where_it_is_and_goes_away(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", screen)
    bar = progress.make_progress("auto", 3, start=1)
    bar.bar.mininterval = 0
    bar.show(2, {"loss": 0.25})
    assert bar.bar.n == 2 and "loss 0.25" in str(bar.bar)
    bar.close()
    assert screen.getvalue().endswith("\r")
