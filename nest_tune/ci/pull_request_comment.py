"""The parts of a GitHub workflow that comment on pull requests: one comment, kept up to date.

It holds the result of every check, and what changed in each lock file since the branch that the
request goes to. Names reach the shell through variables, never as a part of a script.
"""

COMPARE = """\
      - if: always() && github.event_name == 'pull_request'
        env:
          BASE: ${{ github.base_ref }}
        run: |
          git fetch --quiet --depth 1 origin "$BASE"
          if git show "FETCH_HEAD:$LOCK" > "$RUNNER_TEMP/base.toml"; then
            nest-tune ci diff "$RUNNER_TEMP/base.toml" "$LOCK" --format md >> nest-tune.md
          fi
"""
"""Step of a check's job: behind the check's result, what changed in the lock file."""

COMMENT = """\
  comment:
    needs: check
    if: always() && github.event_name == 'pull_request'
    runs-on: ubuntu-latest
    permissions:
      pull-requests: write
    steps:
      - uses: actions/download-artifact@v4
        with:
          pattern: nest-tune-*
      - continue-on-error: true # the token of a fork may only read
        env:
          GH_TOKEN: ${{ github.token }}
          ISSUES: repos/${{ github.repository }}/issues
          NUMBER: ${{ github.event.number }}
          MARK: <!-- nest-tune -->
        run: |
          { echo "$MARK"; cat nest-tune-*/nest-tune.md; } | head -c 60000 > comment.md
          id=$(gh api "$ISSUES/$NUMBER/comments" --paginate \\
            --jq '.[] | select(.body | startswith(env.MARK)) | .id' | head -n 1)
          if [ -n "$id" ]; then
            gh api "$ISSUES/comments/$id" --method PATCH -F body=@comment.md --silent
          else
            gh api "$ISSUES/$NUMBER/comments" -F body=@comment.md --silent
          fi
"""
"""The job that writes the comment, or rewrites the one that is there."""
