"""The pytest fixture ``dut``: a board under test."""
